"""A run's artifacts in Prefect's UI. They help people: a Prefect server that is away for a while fails no upgrade."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.client.orchestration import PrefectClient, get_client
from prefect.exceptions import PrefectException
from prefect.runtime import flow_run

from tasks.decisions.regressions import Change
from tasks.decisions.rollout import Next
from tasks.rollout import Rollout
from tasks.run_texts import (
    ClientRow,
    NameRow,
    PreflightRow,
    hold_text,
    introduction,
    name_rows,
    preflight_rows,
    summary,
    table_rows,
    usage_rows,
)
from tasks.work import Release

T = TypeVar("T")
PATIENCE_S = 20


async def best_effort(what: str, call: Awaitable[T]) -> T | None:
    """What the call answers, or None, with a line in the log, where Prefect's server does not answer."""
    try:
        # Not wait_for, which before Python 3.12 may swallow a cancellation that comes as the call ends.
        async with asyncio.timeout(PATIENCE_S):
            return await call
    except (httpx.HTTPError, PrefectException, TimeoutError, OSError) as error:
        get_run_logger().warning("cannot %s: %s", what, str(error) or type(error).__name__)
        return None


def artifact_key(kind: str, deploy_task_id: str) -> str:
    """`upgrade-table-0198…`: lower-case letters, digits and dashes only, as Prefect wants it."""
    return f"upgrade-{kind}-{deploy_task_id.lower()}"


async def introduce(release: Release) -> None:
    """Name and tag the run, and say in its first artifact what it works on."""
    await best_effort("name the run", _name_run(release))
    key = artifact_key("deploy-task", release.deploy_task_id)
    await best_effort(
        "write the first artifact",
        acreate_markdown_artifact(introduction(release), key=key, description=release.name),
    )


async def _name_run(release: Release) -> None:
    async with get_client() as client:
        tags = sorted({*(flow_run.tags or []), *release.tags})
        await client.update_flow_run(UUID(str(flow_run.id)), name=release.name, tags=tags)


async def show_plan(text: str, key: str) -> None:
    """The artifact of a dry run."""
    await best_effort("write the plan", acreate_markdown_artifact(text, key=key, description="dry run"))


async def show_preflight(rows: Iterable[PreflightRow], key: str) -> None:
    """The table of a dry run: who is ready."""
    await best_effort(
        "write who is ready", acreate_table_artifact(preflight_rows(rows), key=key, description="dry run")
    )


async def show_results(release: Release, rows: list[ClientRow]) -> None:
    """The table: failures first."""
    key = artifact_key("clients", release.deploy_task_id)
    await best_effort(
        "write the table", acreate_table_artifact(table_rows(rows), key=key, description=release.name)
    )


async def show_hold(release: Release, step: Next) -> None:
    """What the run waits for, and how to answer."""
    key = artifact_key("waits", release.deploy_task_id)
    await best_effort(
        "write what it waits for",
        acreate_markdown_artifact(hold_text(release, step), key=key, description=step.reason[:200]),
    )


async def show_usage(release: Release, changes: Iterable[Change]) -> None:
    """The table of what the version uses, against the one before it."""
    key = artifact_key("usage", release.deploy_task_id)
    await best_effort(
        "write the table of usage",
        acreate_table_artifact(usage_rows(changes), key=key, description=release.name),
    )


async def show_names(release: Release, rows: Iterable[NameRow]) -> None:
    """The table of the containers' names, before anything is started."""
    key = artifact_key("containers", release.deploy_task_id)
    await best_effort(
        "write the table of names", acreate_table_artifact(name_rows(rows), key=key, description=release.name)
    )


async def wait_for_prefect(patience_s: float = 300) -> None:
    """Come back once Prefect's server answers: the run's last state has to reach it. Gives up after five minutes."""
    async with get_client() as client:
        try:
            async with asyncio.timeout(patience_s):
                await _until_healthy(client)
        except TimeoutError:
            get_run_logger().warning("Prefect's server does not answer; the run ends all the same")


async def _until_healthy(client: PrefectClient) -> None:
    while True:
        if await client.api_healthcheck() is None:
            return
        await asyncio.sleep(1)


@asynccontextmanager
async def shown_progress(rollout: Rollout) -> AsyncIterator[None]:
    """A progress artifact that moves while the run goes, and once more at its end."""
    ended = asyncio.Event()
    mover = asyncio.create_task(_move(rollout, ended))
    try:
        yield
    finally:
        ended.set()
        await mover


async def _move(rollout: Rollout, ended: asyncio.Event) -> None:
    artifact: UUID | None = None
    shown = -1.0
    while not ended.is_set():
        artifact, shown = await _show(rollout, artifact, shown)
        with suppress(TimeoutError):
            async with asyncio.timeout(rollout.settings.progress_s):
                await ended.wait()
    await _show(rollout, artifact, shown)


async def _show(rollout: Rollout, artifact: UUID | None, shown: float) -> tuple[UUID | None, float]:
    share = 100.0 * rollout.ended / max(1, rollout.release.total)
    if share == shown:
        return artifact, shown
    said = summary(rollout.statuses)
    if artifact is None:
        key = artifact_key("progress", rollout.release.deploy_task_id)
        artifact = await best_effort(
            "show the progress", acreate_progress_artifact(share, key=key, description=said)
        )
    else:
        await best_effort(
            "move the progress", aupdate_progress_artifact(artifact, progress=share, description=said)
        )
    return artifact, share
