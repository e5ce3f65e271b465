"""One round of retention: what is old is dropped from the database, and old runs of the fleet's own flows from Prefect."""

import asyncio
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.states import Completed

from db.models import utc_now
from db.session import open_database
from tasks.errors import PermanentTaskError
from tasks.fleet.dropping import Ages, drop_by_age

REPORT_DAYS = "HOIST_API_REPORT_HISTORY_DAYS"
LONGEST_DAYS = 3650
TAGS = ["hoist", "system"]
PAGE = 200
MOST_RUNS = 2000
"""Deleted in one round: the next one goes on."""


def kept_report_days(environ: Mapping[str, str] = os.environ) -> int:
    """HOIST_API_REPORT_HISTORY_DAYS: the release API drops by it too. Raises PermanentTaskError."""
    said = environ.get(REPORT_DAYS) or "30"
    if not (said.isascii() and said.isdigit() and 1 <= int(said[:5]) <= LONGEST_DAYS):
        raise PermanentTaskError(f"cannot use {REPORT_DAYS}: it is not a number from 1 to {LONGEST_DAYS}")
    return int(said)


async def drop_what_is_old(ages: Ages, flow_run_days: int) -> State[Any]:
    """Drop; the counts are in the state's message."""
    dropped = await drop_rows(ages)
    runs = await drop_system_runs(flow_run_days)
    dropped = {**dropped, "flow runs": runs} if runs else dropped
    return Completed(
        message=", ".join(f"{count} {name}" for name, count in dropped.items()) or "nothing is old"
    )


@task(name="drop_rows", cache_policy=NO_CACHE, persist_result=False, timeout_seconds=200)
async def drop_rows(ages: Any) -> dict[str, int]:
    """From the database. A run that is ended leaves the rest to the next one."""
    ending = threading.Event()
    work = asyncio.ensure_future(asyncio.to_thread(_drop, ages, ending))
    try:
        return await asyncio.shield(work)
    finally:
        ending.set()


def _drop(ages: Ages, ending: threading.Event) -> dict[str, int]:
    database = open_database()
    try:
        return drop_by_age(database, ages, utc_now(), ending)
    finally:
        database.close()


@task(name="drop_system_runs", cache_policy=NO_CACHE, persist_result=False, timeout_seconds=60)
async def drop_system_runs(days: int) -> int:
    """Flow runs tagged `hoist` and `system` that ended so long ago, and their artifacts, from Prefect: 864 a day."""
    ended_before = datetime.now(UTC) - timedelta(days=days)
    wanted = FlowRunFilter(
        tags=FlowRunFilterTags(all_=TAGS), end_time=FlowRunFilterEndTime(before_=ended_before)
    )
    deleted = 0
    try:
        async with get_client() as client:
            while deleted < MOST_RUNS:
                found = await client.read_flow_runs(flow_run_filter=wanted, limit=PAGE)
                await _drop_artifacts(client, [run.id for run in found])
                for run in found:
                    with suppress(ObjectNotFound):
                        await client.delete_flow_run(run.id)
                deleted += len(found)
                if len(found) < PAGE:
                    break
    except (httpx.HTTPError, PrefectException) as error:
        get_run_logger().warning("cannot drop old flow runs: %s", type(error).__name__)
    return deleted


async def _drop_artifacts(client: PrefectClient, flow_runs: Sequence[UUID]) -> None:
    """Prefect keeps them when their run is deleted."""
    theirs = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=list(flow_runs)))
    while flow_runs and (found := await client.read_artifacts(artifact_filter=theirs, limit=PAGE)):
        for artifact in found:
            with suppress(ObjectNotFound):
                await client.delete_artifact(artifact.id)
