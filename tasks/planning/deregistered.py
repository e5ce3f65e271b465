"""Clients that were deregistered after their deploy task had begun: each gets an outcome, and the others go on."""

from datetime import datetime

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from db.models import Client, DeployResult, DeployTask
from db.queries.deploy_tasks import is_going_back
from tasks.decisions.rollout import FAILURES
from tasks.planning.controls import FINISHED, LEFT_OPEN, not_tried_again

WHY = "the client is not registered any more"


def settle_deregistered(session: Session, task: DeployTask, now: datetime) -> None:
    """Who was to be started is skipped; what became of who was in flight, forward or back, nobody can say any more.

    Such a failure is forgiven, as those are that a person goes on with: whoever took the client out of the fleet goes on
    without it. A deploy task that never began is left as it is: its fleet changed, and its start is refused.
    """
    if task.started_at is None:
        return
    rows = select(DeployResult).where(
        DeployResult.deploy_task_id == task.id,
        DeployResult.client_id.not_in(select(Client.client_id)),
        _is_open(),
    )
    for row in session.scalars(rows):
        counted = row.status in FAILURES
        _settle(row, now)
        task.forgiven_failures += row.status in FAILURES and not counted
    session.flush()


def settle_in_ended(session: Session, client_id: str, now: datetime) -> None:
    """The same of a client that was deregistered just now, in deploy tasks that ended without a word of it: no run will."""
    ended = (
        select(DeployTask)
        .join(DeployResult, DeployResult.deploy_task_id == DeployTask.id)
        .where(DeployResult.client_id == client_id, DeployTask.status.in_(FINISHED), _is_open())
    )
    for task in session.scalars(ended).all():
        settle_deregistered(session, task, now)


def _is_open() -> ColumnElement[bool]:
    return or_(DeployResult.status.in_(LEFT_OPEN), DeployResult.rollback.is_not(None) & is_going_back())


def _settle(row: DeployResult, now: datetime) -> None:
    """Who was to be tried again, and was changed by an attempt before, is not as it was: failed."""
    row.finished_at = now
    if row.status == "pending":
        row.status, row.error = ("failed", not_tried_again(WHY)) if row.ran else ("skipped", WHY)
        return
    if row.rollback is not None:
        ended = {"status": "unknown", "finished_at": now, "error": WHY}
        row.rollback = row.rollback.model_copy(update=ended)
    row.status, row.error = "unknown", f"{row.error}; {WHY}"[:2000] if row.error else WHY
