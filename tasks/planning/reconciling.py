"""Deploy tasks whose run is gone without a word: a killed worker takes the run along, and nobody writes an end.

Those that go on by themselves are due again; the others are paused.
"""

from datetime import datetime, timedelta

from sqlalchemy import exists, select
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import flag_modified

from db.models import DeployTask, Lease
from db.queries.audit import append_audit
from db.queries.deploy_tasks import get_deploy_task
from db.queries.freezes import find_freeze
from tasks.planning.controls import FINISHED, end_unstarted
from tasks.planning.lease import environments_of
from tasks.planning.telling import tell

UNDER_WAY = ("running", "canary", "rolling_back")
"""Statuses that a run's lease has to stand behind."""

GRACE = timedelta(seconds=10)
"""Beyond the lease's end: the run's clock and this one's differ."""

FREEZE_IS_OVER = "the freeze is over: its flow run is to begin"
TIME_HAS_COME = "its time has come: its flow run is to begin"
TO_BEGIN = (FREEZE_IS_OVER, TIME_HAS_COME)
"""Reasons of deploy tasks that a flow run was made for which has not begun; once it has, they are gone."""

BEGINS_WITHIN = timedelta(minutes=2)
"""From when its flow run was made or looked for; then it is looked for again: a worker may have died with it."""


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
    """Deploy tasks that are to be started now: their time has come, or what their dead run waited for is over.

    Those that a flow run was made for are due again where it has not begun in time: it may wait for a worker, or be dead.
    """
    leased = exists().where(Lease.deploy_task_id == DeployTask.id, Lease.expires_at > now)
    to_begin = (DeployTask.status == "pending") & DeployTask.status_reason.in_(TO_BEGIN)
    waiting = select(DeployTask).where(DeployTask.status.in_(("scheduled", "paused")) | to_begin, ~leased)
    return [
        task.id for task in session.scalars(waiting.order_by(DeployTask.id)) if _is_due(session, task, now)
    ]


def is_to_begin(task: DeployTask) -> bool:
    """Whether a flow run was made for it by itself, and has not begun."""
    return task.status_reason in TO_BEGIN


def mark_begun(session: Session, deploy_task_id: str, now: datetime) -> None:
    """A flow run was made for it, or is still there: it is like any other that was started, and has a while to begin."""
    task = get_deploy_task(session, deploy_task_id, lock=True)
    if _has_begun(session, task, now):
        return
    if task.status == "scheduled":
        _set_started(task)
        task.status_reason = TIME_HAS_COME
    elif _waits_for_a_freeze(task):
        task.status_reason = FREEZE_IS_OVER
    if is_to_begin(task):
        task.updated_at = now
        flag_modified(task, "updated_at")  # also where it was that before: `onupdate` would set another


def put_off(session: Session, deploy_task_id: str, why: str) -> None:
    """Its flow run could not begin, because another deploy task was quicker: it is due again, if it was to start by itself."""
    task = get_deploy_task(session, deploy_task_id, lock=True)
    if task.status == "pending" and task.request.schedule_type == "scheduled" and task.started_at is None:
        task.status, task.status_reason = "scheduled", why[:1000]
    elif is_to_begin(task):
        _put_back(task, why)


def give_up(session: Session, deploy_task_id: str, why: str, now: datetime) -> None:
    """Its flow runs end before they begin: it is due no more, and people are told. It waits for somebody to start it."""
    task = get_deploy_task(session, deploy_task_id, lock=True)
    if _has_begun(session, task, now):
        return
    if task.status == "scheduled":
        _set_started(task)
    task.hold, task.status_reason = None, why[:1000]
    tell(session, task, "needs_person", "its flow runs end before they begin", now)


def _is_due(session: Session, task: DeployTask, now: datetime) -> bool:
    if is_to_begin(task) and now < task.updated_at + BEGINS_WITHIN:
        return False
    if _waits_for_a_freeze(task):
        return find_freeze(session, task.project_id, environments_of(task), now) is None
    return is_to_begin(task) or (task.status == "scheduled" and _starts_at(task) <= now)


def _has_begun(session: Session, task: DeployTask, now: datetime) -> bool:
    """Whether a run is at work on it by now, or has ended it."""
    at_work = select(Lease.fence).where(Lease.deploy_task_id == task.id, Lease.expires_at > now)
    return task.status in FINISHED or session.scalar(at_work.limit(1)) is not None


def _set_started(task: DeployTask) -> None:
    task.status = "pending" if task.hold is None else "paused"


def _put_back(task: DeployTask, why: str) -> None:
    """As it was before a flow run was made for it: due at once, for its time has come or the freeze is over."""
    if task.status_reason == TIME_HAS_COME:
        task.status = "scheduled"
    task.status_reason = why[:1000]


def _waits_for_a_freeze(task: DeployTask) -> bool:
    return task.status == "paused" and task.hold is not None and task.hold.kind == "freeze"


def _starts_at(task: DeployTask) -> datetime:
    if task.hold is not None:
        return task.hold.until or task.hold.since
    return task.request.schedule_from or task.created_at


def refuse_due(session: Session, deploy_task_id: str, why: str, now: datetime) -> bool:
    """Say why a deploy task whose time has come is not started; answers whether that is news.

    Once its time is over before it began, it ends. One that has begun meanwhile is left alone.
    """
    task = get_deploy_task(session, deploy_task_id, lock=True)
    if _has_begun(session, task, now):
        return False
    over = (
        task.request.schedule_to is not None and task.request.schedule_to <= now and task.started_at is None
    )
    if over:
        end_unstarted(session, task, f"its time is over: {why}", now)
    elif task.status_reason == why[:1000]:
        return False
    _put_back(task, why)
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
