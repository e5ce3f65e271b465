"""How a run begins: its deploy task is there or made, the fleet is as planned, the lease is taken. One transaction each."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from db.queries.deploy_tasks import get_deploy_task
from db.secrets import SecretBox
from tasks.decisions.rollout import Rules
from tasks.planning.controls import FINISHED, begin_run
from tasks.planning.deregistered import settle_deregistered
from tasks.planning.lease import environments_left
from tasks.rollout import ClientRun, Lease
from tasks.standing import rules_of
from tasks.work import Release, load_release, load_work


@dataclass(frozen=True, slots=True)
class Opened:
    """What a run begins with."""

    release: Release
    clients: dict[str, ClientRun]
    lease: Lease
    cancel_running: str | None
    rules: Rules


def open_run(
    session: Session,
    deploy_task_id: str,
    *,
    holder: str,
    rerun: bool,
    secrets: SecretBox,
    now: datetime,
    lease_ttl_s: float,
) -> Opened:
    """Take the lease and read the work; whoever was deregistered meanwhile gets an outcome.

    `rerun`: Prefect's Retry, which goes on whatever the status says. Raises LeaseHeldError (another run is
    at it), WrongStateError, FleetChangedError, RowNotFoundError.
    """
    task = get_deploy_task(session, deploy_task_id, lock=True)
    if rerun and task.status in FINISHED:
        task.status, task.cancel_running = "paused", None
    settle_deregistered(session, task, now)
    fence = begin_run(session, task, holder, now, lease_ttl_s)
    lease = Lease(holder, fence, tuple(environments_left(session, task)))
    task.flow_run_id = holder
    session.flush()
    release = load_release(session, task)
    clients = {
        client: ClientRun(work, release.operation, task.id)
        for client, work in load_work(session, task, secrets).items()
    }
    return Opened(release, clients, lease, task.cancel_running, rules_of(session, task, release))
