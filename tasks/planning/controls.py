"""What an operator does to a deploy task, as changes of rows: start, cancel, retry; and how a run begins and ends.

Free of Prefect and of agents: the API and the flow call these in a transaction of theirs.
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from db.models import DeployResult, DeployTask, Freeze
from db.queries.audit import append_audit
from db.queries.deploy_tasks import Counts, clients_going_back, counts_of, get_deploy_task
from db.queries.freezes import find_freeze
from tasks.errors import FleetChangedError, FrozenError, LeaseHeldError, PlanningError, WrongStateError
from tasks.planning.changes import UNSTARTED, fleet_changes
from tasks.planning.changes import replan as plan_anew
from tasks.planning.lease import (
    acquire_leases,
    check_leases_free,
    environments_of,
    release_leases,
    renew_leases,
)
from tasks.planning.telling import Event, tell, was_told_of

FINISHED = ("completed", "failed", "cancelled", "rolled_back")
"""Nothing has run yet: the fleet is looked at before something does."""
RETRIED_BY_DEFAULT = ("failed", "unreachable", "skipped")
RETRIABLE = (*RETRIED_BY_DEFAULT, "unknown")
LEFT_OPEN = ("pending", "running")


def begin_start(
    session: Session, task: DeployTask, replan: bool, now: datetime, *, who: str = "operator"
) -> str:
    """Check that a run may begin; answers the idempotency key for its flow run.

    The key stays the same until a flow run is recorded in `flow_run_id`, so two starts at once make one run. Raises
    WrongStateError (it has ended), LeaseHeldError (a run is under way, or another deploy task's is),
    FleetChangedError (the fleet is another one, and `replan` is false).
    """
    task = get_deploy_task(session, task.id, lock=True)
    refuse_finished(task, "start")
    check_leases_free(session, task, now)
    check_freezes(session, task, now)
    if is_unstarted(task):
        _check_fleet(session, task, replan, now, who)
    audit(session, task, "deploy_task.start", now, who)
    return run_key(task)


def begin_run(
    session: Session, task: DeployTask, holder: str, now: datetime, ttl_s: float | None = None
) -> int:
    """A flow run begins to work on the deploy task: it takes the leases, the status is `running`; answers the fence.

    Raises what `begin_start` does. The same holder may begin again (a re-run), with a higher fence.
    """
    task = get_deploy_task(session, task.id, lock=True)
    refuse_finished(task, "run")
    if is_unstarted(task):
        _check_fleet(session, task, False, now, holder)
    if task.hold is not None and task.hold.kind == "freeze":
        task.hold = None  # where it still lasts, this run finds it and waits anew
    fence = acquire_leases(session, task, holder, now, ttl_s)
    task.status, task.status_reason, task.finished_at = _running(task), None, None
    if task.started_at is None:
        task.started_at = now
        tell(session, task, "started", "started", now, flow_run_id=holder)
    return fence


def is_unstarted(task: DeployTask) -> bool:
    """Whether nothing has run yet."""
    return task.status in UNSTARTED and task.hold is None


def check_freezes(session: Session, task: DeployTask, now: datetime) -> None:
    """Raises FrozenError, naming the freeze, where one stops it now."""
    freeze = find_freeze(session, task.project_id, environments_of(task), now)
    if freeze is not None:
        raise FrozenError(f"cannot start deploy task {task.id}: {freeze_text(freeze)}")


def freeze_text(freeze: Freeze) -> str:
    """What a freeze says: who set it, until when, and why."""
    until = f"until {freeze.until:%Y-%m-%d %H:%M} UTC" if freeze.until else "until it is lifted"
    return f"deployments are frozen {until} by {freeze.who}: {freeze.reason} (freeze {freeze.id})"


def _running(task: DeployTask) -> str:
    return "rolling_back" if task.going_back else "running"


def finish_run(
    session: Session, task: DeployTask, holder: str, now: datetime, reason: str | None = None, *, fence: int
) -> str:
    """A flow run has nothing left to do: who is still pending is skipped; answers the status, counted from the results.

    cancelled if it was asked for; completed when nobody failed and nobody is unknown; else failed. Raises LeaseLostError
    where another run has the deploy task now: then nothing is changed.
    """
    task = get_deploy_task(session, task.id, lock=True)
    renew_leases(session, task, holder, now, fence=fence)
    _skip_pending(session, task, reason or "the deploy task ended before its turn", now)
    _end_results(session, task, ("running", "unknown"), "its run ended without an answer of its agent", now)
    counts = counts_of(session, task.id)
    task.status = ended_as(task, counts)
    task.going_back, task.hold, task.paused_by = False, None, None
    task.status_reason, task.finished_at = reason, now
    release_leases(session, task, holder)
    numbers = {"success": counts.success, "failed": counts.failed, "total": counts.total}
    audit(session, task, f"deploy_task.{task.status}", now, holder, **numbers)
    tell(session, task, event_of(task.status), task.status.replace("_", " "), now)
    return task.status


_EVENTS: dict[str, Event] = {"failed": "failed", "rolled_back": "rolled_back"}


def event_of(status: str) -> Event:
    """As what people are told that a deploy task ended so."""
    return _EVENTS.get(status, "done")


def ended_as(task: DeployTask, counts: Counts) -> str:
    """rolled_back: everybody whom it changed was taken back. failed: somebody failed, or nobody knows."""
    if counts.rolled_back and not (counts.success or counts.failed or counts.unknown):
        return "rolled_back"
    if task.cancel_running is not None:
        return "cancelled"
    return "failed" if counts.failed or counts.unknown or counts.rolled_back else "completed"


def request_cancel(
    session: Session, task: DeployTask, running: str, who: str, now: datetime, *, comment: str = ""
) -> DeployTask:
    """Start no further client; `running`: `finish` lets those in flight end, `kill` cancels their executions.

    The run that is under way sees it (`cancel_running`) and ends as cancelled. Where no run is under way and nobody is
    in flight, the deploy task is cancelled at once; where somebody is, a run has to be begun that asks their agents
    (`wants_run`). Raises WrongStateError once it has ended.
    """
    task = get_deploy_task(session, task.id, lock=True)
    refuse_finished(task, "cancel")
    task.cancel_running = running
    audit(session, task, "deploy_task.cancel", now, who, comment=comment, running=running)
    in_flight = counts_of(session, task.id).running or clients_going_back(session, task.id)
    if not _is_under_way(session, task, now) and not in_flight:
        end_unstarted(session, task, f"cancelled by {who}", now)
        if was_told_of(session, task):
            tell(session, task, event_of(task.status), task.status, now)
    return task


def end_unstarted(session: Session, task: DeployTask, why: str, now: datetime) -> None:
    """End a deploy task of which no run is under way: who is still pending is skipped."""
    _skip_pending(session, task, why, now)
    task.status, task.status_reason, task.finished_at = "cancelled", why[:1000], now
    task.hold, task.paused_by, task.going_back = None, None, False


def wants_run(session: Session, task: DeployTask, now: datetime) -> str | None:
    """The key of the flow run that a cancelled deploy task needs: its clients are in flight, and no run watches them."""
    if task.status in FINISHED or _is_under_way(session, task, now):
        return None
    return run_key(task)


def run_key(task: DeployTask) -> str:
    """The idempotency key of the deploy task's next flow run: the same until one is recorded in `flow_run_id`."""
    return f"{task.id}:{task.flow_run_id or 'first'}"


def _is_under_way(session: Session, task: DeployTask, now: datetime) -> bool:
    try:
        check_leases_free(session, task, now)
    except LeaseHeldError as held:
        return held.deploy_task_id == task.id
    return False


def prepare_retry(  # noqa: PLR0917 (the order is the one the rooms agreed on)
    session: Session,
    task: DeployTask,
    client_ids: Collection[str] | None,
    statuses: Collection[str] | None,
    who: str,
    now: datetime,
) -> DeployTask:
    """Make clients of an ended deploy task pending again, for a new attempt under the same plan; it is pending then.

    Without `client_ids` and `statuses`: those that failed, were unreachable or skipped; the unknown only when asked
    for. Who is still pending or running, because the flow run was cancelled in Prefect, goes on under the attempt it has.
    Raises WrongStateError while it has not ended, PlanningError for clients or statuses that can't be retried.
    """
    task = get_deploy_task(session, task.id, lock=True)
    if task.status not in FINISHED:
        raise WrongStateError(f"cannot retry deploy task {task.id}: it is {task.status}")
    results = _to_retry(session, task, client_ids, statuses)
    for result in results:
        result.status, result.execution_id, result.error, result.output = "pending", None, None, None
        result.started_at = result.finished_at = result.duration_ms = result.exit_code = result.evidence = (
            None
        )
        if result.rollback is not None:
            result.attempt += (
                1  # the rollback was sent under this number: no other one may have its execution id
            )
        result.rollback = None  # `ran` stays: what an earlier attempt has left there is there
    task.status, task.status_reason = "pending", None
    task.cancel_running = task.finished_at = task.hold = task.paused_by = None
    task.going_back = False
    session.flush()
    left = counts_of(session, task.id)
    task.forgiven_failures = left.failed + left.unknown + left.rolled_back
    task.usage_accepted_at = now
    task.stopped_reason = None
    audit(session, task, "deploy_task.retry", now, who, clients=len(results))
    session.flush()
    return task


def _to_retry(
    session: Session,
    task: DeployTask,
    client_ids: Collection[str] | None,
    statuses: Collection[str] | None,
) -> list[DeployResult]:
    wrong = sorted(set(statuses or ()) - set(RETRIABLE))
    if wrong:
        raise PlanningError(f"only {', '.join(RETRIABLE)} are retried, not {', '.join(wrong)}", "statuses")
    rows = session.scalars(select(DeployResult).where(DeployResult.deploy_task_id == task.id)).all()
    if client_ids is not None:
        unknown = sorted(set(client_ids) - {row.client_id for row in rows})
        if unknown:
            raise PlanningError(
                f"not clients of deploy task {task.id}: {', '.join(unknown[:20])}", "client_ids"
            )
        rows = [row for row in rows if row.client_id in set(client_ids)]
    allowed = statuses or (RETRIABLE if client_ids is not None else RETRIED_BY_DEFAULT)
    chosen = [row for row in rows if row.status in allowed]
    if not chosen and not any(row.status in LEFT_OPEN for row in rows):
        raise PlanningError(f"no client of deploy task {task.id} is {' or '.join(allowed)}", "statuses")
    return chosen


def refuse_finished(task: DeployTask, what: str) -> None:
    """Raises WrongStateError once it has ended."""
    if task.status in FINISHED:
        raise WrongStateError(f"cannot {what} deploy task {task.id}: it is {task.status}")


def _check_fleet(session: Session, task: DeployTask, replan: bool, now: datetime, who: str) -> None:
    changes = fleet_changes(session, task, now)
    if changes and not replan:
        raise FleetChangedError(changes)
    if changes:
        plan_anew(session, task, now, who)


def _skip_pending(session: Session, task: DeployTask, why: str, now: datetime) -> None:
    """Those that an earlier attempt had changed, and that were to be tried again, are not as they were: failed."""
    again = DeployResult.ran.is_(True)
    _end_results(session, task, ("pending", "failed"), not_tried_again(why), now, again)
    _end_results(session, task, ("pending", "skipped"), why, now)


def not_tried_again(why: str) -> str:
    """What is said of a client whose attempt failed, and that the retry passed over."""
    return f"not tried again: {why}; its attempt before had failed"


def _end_results(
    session: Session,
    task: DeployTask,
    change: tuple[str, str],
    why: str,
    now: datetime,
    *which: ColumnElement[bool],
) -> None:
    old, new = change
    session.execute(
        update(DeployResult)
        .where(DeployResult.deploy_task_id == task.id, DeployResult.status == old, *which)
        .values(status=new, error=why[:2000], finished_at=now)
    )


def audit(
    session: Session,
    task: DeployTask,
    action: str,
    now: datetime,
    who: str,
    **detail: object,
) -> None:
    """A line about the deploy task in the trail."""
    append_audit(
        session,
        now=now,
        who=who,
        action=action,
        subject=f"deploy task {task.id}",
        detail=detail,
        project_id=task.project_id,
        deploy_task_id=task.id,
    )
