"""What Prefect calls when a flow run was cancelled or crashed: its deploy task is told.

These hooks are not certain to run. When they don't, the lease runs out, and the deploy task can be started again.
"""

from typing import Any

from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import DeployTask, utc_now
from db.queries.audit import append_audit
from db.session import Database, open_database
from tasks.planning.controls import event_of
from tasks.planning.lease import release_leases
from tasks.planning.telling import tell, was_told_of

UNDER_WAY = ("running", "paused", "canary", "scheduled", "rolling_back")
"""Statuses that a flow run may be at work behind."""


def mark_cancelled(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001 (Prefect names them)
    """A cancelled flow run: its deploy task is cancelled. Scripts on clients go on; a re-run picks their results up."""
    _mark(str(flow_run.id), "cancelled", "its flow run was cancelled")


def mark_paused(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001 (Prefect names them)
    """A crashed flow run: its deploy task is paused, until it is started again or its flow run is retried."""
    _mark(str(flow_run.id), "paused", "its flow run crashed")


def _mark(flow_run_id: str, status: str, reason: str) -> None:
    database = open_database()
    try:
        pause_or_cancel(database, flow_run_id, status, reason)
    finally:
        database.close()


def pause_or_cancel(database: Database, flow_run_id: str, status: str, reason: str) -> None:
    """Set the status of the deploy task that this flow run was working on, if it still is."""
    with database.write() as session:
        task = session.scalar(
            select(DeployTask)
            .where(DeployTask.flow_run_id == flow_run_id, DeployTask.status.in_(UNDER_WAY))
            .with_for_update()
        )
        if task is None:
            return
        if task.status == status:  # it waits already, for what its hold says
            release_leases(session, task, flow_run_id)
        else:
            _close(session, task, flow_run_id, status, reason)


def _close(session: Session, task: DeployTask, flow_run_id: str, status: str, reason: str) -> None:
    now = utc_now()
    task.status, task.status_reason = status, reason
    task.finished_at = now if status == "cancelled" else None
    if status == "cancelled":
        task.hold, task.paused_by = None, None
    release_leases(session, task, flow_run_id)
    append_audit(
        session,
        now=now,
        who=flow_run_id,
        action=f"deploy_task.{status}",
        subject=f"deploy task {task.id}",
        detail={"reason": reason},
        project_id=task.project_id,
        deploy_task_id=task.id,
    )
    if status == "paused":
        tell(session, task, "needs_person", reason, now)
    elif was_told_of(session, task):
        tell(session, task, event_of(status), status, now)
