"""Deploy tasks whose run is gone without a word: a killed worker takes the run along, and nobody writes an end."""

from datetime import datetime, timedelta

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from db.models import DeployTask, Lease
from db.queries.audit import append_audit
from db.queries.deploy_tasks import get_deploy_task
from db.queries.freezes import find_freeze
from tasks.planning.controls import end_unstarted
from tasks.planning.lease import environments_of
from tasks.planning.telling import tell

UNDER_WAY = ("running", "canary", "rolling_back")
"""Statuses that a run's lease has to stand behind."""

GRACE = timedelta(seconds=10)
"""Beyond the lease's end: the run's clock and this one's differ."""


FREEZE_IS_OVER = "the freeze is over: its flow run is to begin"


def pause_abandoned(session: Session, now: datetime, grace: timedelta = GRACE) -> list[str]:
    """Pause deploy tasks that are under way with nobody's lease behind them; answers their ids.

    The lease is let go: a run that was only frozen finds it gone and starts nothing more.
    """
    alive = exists().where(Lease.deploy_task_id == DeployTask.id, Lease.expires_at > now - grace)
    query = select(DeployTask).where(DeployTask.status.in_(UNDER_WAY), ~alive)
    abandoned = session.scalars(query.with_for_update(skip_locked=True)).all()
    for task in abandoned:
        _pause(session, task, now)
    return [task.id for task in abandoned]


def due_deploy_tasks(session: Session, now: datetime) -> list[str]:
    """Deploy tasks that are to be started now: their time has come, or what their dead run waited for is over."""
    leased = exists().where(Lease.deploy_task_id == DeployTask.id, Lease.expires_at > now)
    waiting = select(DeployTask).where(DeployTask.status.in_(("scheduled", "paused")), ~leased)
    return [
        task.id for task in session.scalars(waiting.order_by(DeployTask.id)) if _is_due(session, task, now)
    ]


def mark_begun(session: Session, deploy_task_id: str, now: datetime) -> None:
    """A flow run was made for it: from now on it is like any other that was started, and is not made one again."""
    task = get_deploy_task(session, deploy_task_id, lock=True)
    at_work = select(Lease.fence).where(Lease.deploy_task_id == task.id, Lease.expires_at > now)
    if session.scalar(at_work.limit(1)) is not None:
        return
    if task.status == "scheduled":
        task.status = "pending" if task.hold is None else "paused"
        task.status_reason = "its time has come: its flow run is to begin"
    elif _waits_for_a_freeze(task):
        task.status_reason = FREEZE_IS_OVER


def put_off(session: Session, deploy_task_id: str, why: str) -> None:
    """Its flow run could not begin, because another deploy task was quicker: it is due again, if it was to start by itself."""
    task = get_deploy_task(session, deploy_task_id, lock=True)
    if task.status == "pending" and task.request.schedule_type == "scheduled" and task.started_at is None:
        task.status, task.status_reason = "scheduled", why[:1000]
    elif _waits_for_a_freeze(task) and task.status_reason == FREEZE_IS_OVER:
        task.status_reason = why[:1000]


def _is_due(session: Session, task: DeployTask, now: datetime) -> bool:
    if task.status == "scheduled":
        return _starts_at(task) <= now
    if not _waits_for_a_freeze(task) or task.status_reason == FREEZE_IS_OVER:
        return False
    return find_freeze(session, task.project_id, environments_of(task), now) is None


def _waits_for_a_freeze(task: DeployTask) -> bool:
    return task.status == "paused" and task.hold is not None and task.hold.kind == "freeze"


def _starts_at(task: DeployTask) -> datetime:
    if task.hold is not None:
        return task.hold.until or task.hold.since
    return task.request.schedule_from or task.created_at


def refuse_due(session: Session, deploy_task_id: str, why: str, now: datetime) -> bool:
    """Say why a deploy task whose time has come is not started; answers whether that is news.

    Once its time is over before it began, it ends.
    """
    task = get_deploy_task(session, deploy_task_id, lock=True)
    over = (
        task.request.schedule_to is not None and task.request.schedule_to <= now and task.started_at is None
    )
    if over:
        end_unstarted(session, task, f"its time is over: {why}", now)
    elif task.status_reason == why[:1000]:
        return False
    task.status_reason = why[:1000]
    tell(session, task, "failed" if over else "needs_person", "could not be started in time", now)
    return True


def _pause(session: Session, task: DeployTask, now: datetime) -> None:
    task.status = "paused"
    task.status_reason = "its run is gone, and let its lease run out: start it again, and it goes on"
    leases = select(Lease).where(Lease.deploy_task_id == task.id).with_for_update()
    for lease in session.scalars(leases):
        lease.holder = lease.deploy_task_id = lease.expires_at = None
    append_audit(
        session,
        now=now,
        who="reconciler",
        action="deploy_task.paused",
        subject=f"deploy task {task.id}",
        detail={"reason": task.status_reason, "flow_run_id": task.flow_run_id},
        project_id=task.project_id,
        deploy_task_id=task.id,
    )
    tell(session, task, "needs_person", "its run is gone", now)
