"""One run of the upgrade, from its parameters to its last state: what the flow `upgrade` tells, step by step."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from sqlalchemy.orm import Session

from agent.client import agent_http_client
from agent.errors import SettingsError
from agent.transport import caller_tls
from db.errors import DatabaseError
from db.models import utc_now
from db.secrets import load_secret_key
from db.session import Database, open_database
from tasks import artifacts
from tasks.errors import LeaseHeldError, PermanentTaskError, TaskError
from tasks.finishing import Ending, end_run
from tasks.form import UpgradeForm, starts_later
from tasks.guarding import guarded
from tasks.opening import Opened, open_run
from tasks.planning.reconciling import put_off
from tasks.resolve_clients import resolve_clients
from tasks.rollout import ROLLOUT, Rollout
from tasks.run_hooks import pause_or_cancel
from tasks.settings import RolloutSettings

REFUSALS = (TaskError, DatabaseError, SettingsError)
"""What ends a run with one clear line."""


def refuse(error: Exception) -> State[Any]:
    """The state of a run that could not be: one line in its log, the same in its message."""
    get_run_logger().error("%s", error)
    return Failed(name="Refused", message=str(error))


def check_settings() -> None:
    """Raises one of REFUSALS for a setting that this run could not do with: nothing has been written down yet."""
    RolloutSettings.from_env()
    caller_tls()


def scheduled(deploy_task_id: str, form: UpgradeForm | None) -> State[Any] | None:
    """The state of a run that only wrote down what is to be done later: the release API begins another one then."""
    time = starts_later(form, utc_now()) if form is not None else None
    if time is None:
        return None
    said = f"deploy task {deploy_task_id} starts at {time:%Y-%m-%d %H:%M} UTC, in a run of its own"
    return Completed(name="Scheduled", message=said)


async def find_deploy_task(deploy_task_id: str | None, form: UpgradeForm | None) -> str:
    """The deploy task to work on: the one that is named, or the one that the form asks for."""
    if form is None:
        assert deploy_task_id is not None
        return deploy_task_id
    answer = await resolve_clients(form)
    if isinstance(answer, str):
        return answer
    raise PermanentTaskError(answer.message or "cannot resolve the clients")


@asynccontextmanager
async def opened(deploy_task_id: str) -> AsyncIterator[Rollout]:
    """The run's rollout, under its lease. A run that breaks off leaves its deploy task paused and the lease free."""
    settings, tls = RolloutSettings.from_env(), caller_tls()
    database = await asyncio.to_thread(open_database)
    holder = str(flow_run.id)
    try:
        try:
            begun = await asyncio.to_thread(_open, database, deploy_task_id, holder, settings)
        except LeaseHeldError as error:
            await asyncio.to_thread(_put_off, database, deploy_task_id, str(error))
            raise
        try:
            async with agent_http_client(tls=tls) as http:
                rollout = Rollout(
                    begun.release,
                    begun.clients,
                    begun.lease,
                    database=database,
                    http=http,
                    settings=settings,
                    rules=begun.rules,
                )
                if begun.cancel_running is not None:
                    rollout.brakes.cancel(begun.cancel_running)
                ROLLOUT.set(rollout)
                try:
                    yield rollout
                finally:
                    rollout.close()
        except BaseException as error:
            reason = f"its run broke off: {type(error).__name__}"
            pause_or_cancel(database, holder, "paused", reason)  # no await: this may be a cancellation
            raise
    finally:
        database.close()


def _open(database: Database, deploy_task_id: str, holder: str, settings: RolloutSettings) -> Opened:
    with database.write() as session:
        return open_run(
            session,
            deploy_task_id,
            holder=holder,
            rerun=int(flow_run.run_count or 1) > 1,
            secrets=load_secret_key(),
            now=utc_now(),
            lease_ttl_s=settings.lease_ttl_s,
        )


def _put_off(database: Database, deploy_task_id: str, why: str) -> None:
    with database.write() as session:
        put_off(session, deploy_task_id, why)


@asynccontextmanager
async def watched(rollout: Rollout) -> AsyncIterator[None]:
    """Lease, cancel and progress are looked after while the clients are gone through."""
    await artifacts.introduce(rollout.release)
    async with guarded(rollout), artifacts.shown_progress(rollout):
        yield


async def close(rollout: Rollout) -> Ending:
    """Write the end down, and show it."""
    release = rollout.release

    def end(session: Session) -> Ending:
        return end_run(session, release.deploy_task_id, rollout.lease, rollout.brakes, utc_now())

    ending = await rollout.commit(end)
    await artifacts.show_results(release, ending.rows)
    await artifacts.wait_for_prefect()
    return ending
