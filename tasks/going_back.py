"""Taking clients back, each to its own previous version: the same steps as an upgrade's, written into another book."""

from collections.abc import Sequence
from dataclasses import replace

from prefect import get_run_logger
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import DeployResult
from db.queries.deploy_tasks import get_deploy_task
from db.secrets import load_secret_key
from tasks.planning.going_back import ways_back
from tasks.rollbacks import ROLLBACKS
from tasks.rollout import ROLLOUT, ClientRun, Rollout
from tasks.waves import roll_wave
from tasks.work import ClientWork, load_planned

BACK = "back"
"""What stands in its execution ids: a deploy task that is a rollback itself may be taken back, too."""


async def go_back(rollout: Rollout, clients: Sequence[str], reason: str, *, stops: bool) -> None:
    """Take these clients back, so many at a time as the strategy says. Whoever can't be is failed, and says why.

    `stops`: nobody else is started after it, whatever is left of the reason once they are back.
    """
    get_run_logger().warning("%s clients are taken back: %s", len(clients), reason)
    runs = await rollout.commit_as_holder(
        lambda session: _begin(session, rollout, clients, reason if stops else None)
    )
    back = Rollout(
        replace(
            rollout.release, operation="rollback", waves=(tuple(runs),), name=f"{rollout.release.name}, back"
        ),
        runs,
        rollout.lease,
        database=rollout.database,
        http=rollout.http,
        settings=rollout.settings,
        brakes=rollout.brakes.also(),
        book=ROLLBACKS,
    )
    if rollout.brakes.killing and all(run.reattaches for run in runs.values()):
        back.brakes.cancel("kill")
    token = ROLLOUT.set(back)
    try:
        await roll_wave(back, "rollback", list(back.clients.values()))
    finally:
        ROLLOUT.reset(token)
        back.close()
    rollout.see(await rollout.commit_as_holder(lambda session: _end(session, rollout, tuple(runs), stops)))


def _begin(
    session: Session, rollout: Rollout, clients: Sequence[str], stopped: str | None
) -> dict[str, ClientRun]:
    task = get_deploy_task(session, rollout.release.deploy_task_id, lock=True)
    task.status, task.hold = "rolling_back", None
    if stopped is not None and not task.going_back:
        task.stopped_reason = task.stopped_reason or stopped[:1000]
    planned = ways_back(session, task)
    rows = {
        row.client_id: row
        for row in session.scalars(select(DeployResult).where(DeployResult.deploy_task_id == task.id))
    }
    wanted = [planned[client] for client in clients if client in planned]
    works = load_planned(session, task, wanted, load_secret_key(), goes_back=True)
    return {client: _run_of(work, rows[client]) for client, work in works.items()}


def _run_of(work: ClientWork, row: DeployResult) -> ClientRun:
    """Under way already, where an earlier run began it; else to be begun."""
    state = row.rollback
    begun = state is not None and state.status == "running"
    stands = replace(
        work,
        status="running" if begun else "pending",
        attempt=row.attempt if begun else max(row.attempt - 1, 0),
        execution_id=state.execution_id if begun and state is not None else None,
        container_name=None,
    )
    tries = state.tries if state is not None else 1
    return ClientRun(stands, BACK if tries == 1 else f"{BACK}{tries}", row.deploy_task_id)


def _end(session: Session, rollout: Rollout, clients: Sequence[str], stops: bool) -> dict[str, str]:
    """What became of them; where the others go on forwards, the deploy task does."""
    task = get_deploy_task(session, rollout.release.deploy_task_id)
    if task.status == "rolling_back" and not (stops or task.going_back):
        task.status = "running"
    query = select(DeployResult.client_id, DeployResult.status).where(
        DeployResult.deploy_task_id == rollout.release.deploy_task_id, DeployResult.client_id.in_(clients)
    )
    return {row.client_id: row.status for row in session.execute(query)}
