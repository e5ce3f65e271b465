"""What watches over a run from the side: it renews the lease, and sees what people say: cancel, pause, roll back."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from prefect import get_run_logger
from sqlalchemy import select

from db.errors import TransientDatabaseError
from db.models import DeployTask, utc_now
from db.queries.clients import held_clients
from db.queries.deploy_tasks import get_deploy_task
from db.queries.freezes import find_freeze
from tasks.errors import LeaseLostError
from tasks.planning.lease import renew_leases
from tasks.rollout import Rollout


@asynccontextmanager
async def guarded(rollout: Rollout) -> AsyncIterator[None]:
    """Watch over the run while it goes."""
    watcher = asyncio.create_task(_watch(rollout))
    try:
        yield
    finally:
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher


async def _watch(rollout: Rollout) -> None:
    """Every second: what was said? Every 15 s: the lease. A database that can't be asked loses the lease when it runs out."""
    settings, renewed = rollout.settings, time.monotonic()
    while not rollout.brakes.lost:
        await asyncio.sleep(settings.watch_s)
        try:
            await _look_for_words(rollout)
            if time.monotonic() - renewed >= settings.lease_renew_s:
                asked = time.monotonic()
                await asyncio.to_thread(_renew, rollout)
                renewed = asked
        except LeaseLostError as error:
            rollout.brakes.lose(str(error))
        except TransientDatabaseError as error:
            get_run_logger().warning("cannot look after the lease, will try again: %s", error)
        except Exception:  # noqa: BLE001 (the outermost loop: without it nobody would renew the lease)
            get_run_logger().exception("cannot look after the lease, will try again")
        if time.monotonic() - renewed > settings.lease_ttl_s:
            rollout.brakes.lose("the lease could not be renewed in time")


async def _look_for_words(rollout: Rollout) -> None:
    running, held, rollout.held = await asyncio.to_thread(_asked_for, rollout)
    if running is not None:
        rollout.brakes.cancel(running)
    if held:
        rollout.brakes.hold()


def _asked_for(rollout: Rollout) -> tuple[str | None, bool, dict[str, str]]:
    """Whether to cancel; whether no further client is to be started for the moment (a pause, a freeze, a rollback); who is held."""
    with rollout.database.read() as session:
        held = held_clients(session, utc_now())
        query = select(
            DeployTask.cancel_running, DeployTask.paused_by, DeployTask.going_back, DeployTask.project_id
        )
        row = session.execute(query.where(DeployTask.id == rollout.release.deploy_task_id)).one()
        freeze = find_freeze(session, row.project_id, rollout.lease.environments, utc_now())
    return row.cancel_running, row.paused_by is not None or row.going_back or freeze is not None, held


def _renew(rollout: Rollout) -> None:
    with rollout.database.write() as session:
        task = get_deploy_task(session, rollout.release.deploy_task_id)
        lease, ttl_s = rollout.lease, rollout.settings.lease_ttl_s
        renew_leases(session, task, lease.holder, utc_now(), ttl_s, fence=lease.fence)
