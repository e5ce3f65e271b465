"""How a run ends: what was not started is skipped, the deploy task gets its status, the lease is let go."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import DeployResult, DeployTask
from db.queries.deploy_tasks import get_deploy_task
from tasks.brakes import Brakes
from tasks.planning.controls import finish_run
from tasks.rollout import Lease
from tasks.run_texts import ClientRow, failed_name, summary


@dataclass(frozen=True, slots=True)
class Ending:
    """How the deploy task stands when a run ends."""

    status: str
    statuses: Counter[str]
    rows: list[ClientRow]
    reason: str | None


def end_run(session: Session, deploy_task_id: str, lease: Lease, brakes: Brakes, now: datetime) -> Ending:
    """Write the end down, in the caller's transaction. A run that lost its lease leaves everything to the next one."""
    task = get_deploy_task(session, deploy_task_id, lock=True)
    if not brakes.lost:
        finish_run(session, task, lease.holder, now, brakes.reason, fence=lease.fence)
    return _ending(session, task, task.status, brakes.reason)


def _ending(session: Session, task: DeployTask, status: str, reason: str | None) -> Ending:
    planned = {client.client_id: client for client in task.plan.clients}
    columns = (
        DeployResult.client_id,
        DeployResult.wave,
        DeployResult.status,
        DeployResult.error,
        DeployResult.evidence,
    )
    found = session.execute(select(*columns).where(DeployResult.deploy_task_id == task.id)).all()
    rows = [
        ClientRow(
            client_id=client,
            wave=wave,
            status=result,
            from_version=planned[client].from_version,
            to_version=planned[client].to_version,
            error=error,
            evidence=evidence,
        )
        for client, wave, result, error, evidence in found
    ]
    return Ending(status, Counter(row.status for row in rows), rows, reason)


def final_state(ending: Ending) -> State[Any]:
    """The flow run's last state: the counts are in its name and its message."""
    said = summary(ending.statuses)
    message = f"{said} ({ending.reason})" if ending.reason else said
    if ending.status == "completed":
        return Completed(message=message)
    if ending.status == "cancelled":
        return Cancelled(message=message)
    if ending.status == "rolled_back":
        return Failed(name="Rolled back", message=message)
    if ending.status != "failed":
        return Failed(name="Lease lost", message=message)
    return Failed(name=failed_name(ending.statuses), message=message)
