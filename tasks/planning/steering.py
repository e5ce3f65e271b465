"""What people say while a deploy task is under way, as changes of rows: approve, pause, resume, promote, roll back.

The run sees it in the database within a second. Where none is under way, `wants_run` (controls) has one begun.
"""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.documents.hold import HoldKind, HoldState
from db.models import DeployTask, Environment
from db.queries.deploy_tasks import counts_of, get_deploy_task
from tasks.errors import NotAllowedError, PlanningError, WrongStateError
from tasks.planning.controls import FINISHED, audit, refuse_finished
from tasks.planning.going_back import try_again, ways_back
from tasks.planning.lease import environments_of

PROMOTED: tuple[HoldKind, ...] = ("canary", "wave")
"""Holds that a promotion ends."""
RESUMED: tuple[HoldKind, ...] = ("operator", "failures")
"""Holds that a resume ends."""


def approve(session: Session, task: DeployTask, who: str, now: datetime, comment: str = "") -> DeployTask:
    """Another than its creator lets its plan be carried out; a plan that is made anew has to be approved anew.

    Raises WrongStateError (ended, or no approval is asked for), NotAllowedError (its creator's token).
    """
    task = get_deploy_task(session, task.id, lock=True)
    refuse_finished(task, "approve")
    if not approval_required(session, task):
        raise WrongStateError(f"cannot approve deploy task {task.id}: its environment asks for no approval")
    if who == task.creator:
        raise NotAllowedError(f"cannot approve deploy task {task.id}: {who} made it, another token has to")
    task.approved_by, task.approved_digest = who, task.plan.digest
    if task.hold is not None and task.hold.kind == "approval":
        task.hold = None
    audit(session, task, "deploy_task.approve", now, who, comment=comment, digest=task.plan.digest)
    return task


def approval_required(session: Session, task: DeployTask) -> bool:
    """Whether an environment that the plan touches asks for it."""
    query = select(Environment.id).where(
        Environment.id.in_(environments_of(task)), Environment.require_approval.is_(True)
    )
    return session.scalar(query.limit(1)) is not None


def is_approved(task: DeployTask) -> bool:
    """Whether the plan, as it is now, was approved."""
    return task.approved_digest == task.plan.digest


def pause(session: Session, task: DeployTask, who: str, now: datetime, comment: str = "") -> DeployTask:
    """Start no further client until it is resumed; who is in flight is finished. Raises WrongStateError once it ended, and while it is rolled back."""
    task = get_deploy_task(session, task.id, lock=True)
    refuse_finished(task, "pause")
    if task.going_back:
        raise WrongStateError(f"cannot pause deploy task {task.id}: it is rolled back; a cancel ends that")
    task.paused_by = who
    audit(session, task, "deploy_task.pause", now, who, comment=comment)
    return task


def resume(session: Session, task: DeployTask, who: str, now: datetime, comment: str = "") -> DeployTask:
    """Go on after a pause, or in spite of the failures that it was held for: those count no more, nor does what the clients use that were upgraded by then.

    Raises WrongStateError where it waits for something else, or for nothing.
    """
    task = get_deploy_task(session, task.id, lock=True)
    refuse_finished(task, "resume")
    _refuse_other_hold(task, RESUMED, "resume")
    if task.hold is None and task.paused_by is None and task.status != "paused":
        raise WrongStateError(f"cannot resume deploy task {task.id}: it is {task.status}, not paused")
    if task.hold is not None and task.hold.kind == "failures":
        counts = counts_of(session, task.id)
        task.forgiven_failures = counts.failed + counts.unknown + counts.rolled_back
        task.usage_accepted_at = now
    task.paused_by = task.hold = None
    audit(session, task, "deploy_task.resume", now, who, comment=comment)
    return task


def promote(session: Session, task: DeployTask, who: str, now: datetime, comment: str = "") -> DeployTask:
    """Go on after the canary, or after a wave that was to be held. Raises WrongStateError where it doesn't wait for that."""
    task = get_deploy_task(session, task.id, lock=True)
    refuse_finished(task, "promote")
    _refuse_other_hold(task, PROMOTED, "promote")
    if task.hold is None:
        raise WrongStateError(
            f"cannot promote deploy task {task.id}: it is {task.status}, and waits for no promotion"
        )
    task.promoted_waves, task.hold = max(task.promoted_waves, task.hold.wave), None
    audit(session, task, "deploy_task.promote", now, who, comment=comment, waves=task.promoted_waves)
    return task


def roll_back(session: Session, task: DeployTask, who: str, now: datetime, comment: str = "") -> DeployTask:
    """Take every client that it changed back to the version that it had. Who is in flight is finished first.

    Where that was tried before and did not work, it is tried again.
    An ended deploy task is taken up again for it. Raises PlanningError where nobody can be taken back, and
    WrongStateError where it was never started.
    """
    task = get_deploy_task(session, task.id, lock=True)
    running = counts_of(session, task.id).running
    back = ways_back(session, task, again=True)
    if not back and not running:
        raise PlanningError(
            f"cannot roll deploy task {task.id} back: no client has what it brought, and a version to go back to"
        )
    task.going_back, task.paused_by, task.hold = True, None, None
    task.cancel_running = None  # the last word counts: a cancelled deploy task is rolled back too
    try_again(session, task, back)
    if task.status in (*FINISHED, "pending", "scheduled", "paused"):  # due by itself no more
        task.status, task.finished_at = "paused", None
        task.status_reason = f"{who} has it rolled back"
    audit(session, task, "deploy_task.rollback", now, who, comment=comment, clients=len(back))
    session.flush()
    return task


def hold_at(task: DeployTask, hold: HoldState | None) -> None:
    """What its run waits for from now on; None: it goes on. `canary`, `paused` or `scheduled` is its status meanwhile."""
    task.hold = hold
    if hold is None:
        task.status, task.status_reason = ("rolling_back" if task.going_back else "running"), None
        return
    task.status = {"canary": "canary", "schedule": "scheduled", "window": "scheduled"}.get(
        hold.kind, "paused"
    )
    task.status_reason = hold.reason[:1000]


def _refuse_other_hold(task: DeployTask, kinds: tuple[HoldKind, ...], what: str) -> None:
    if task.hold is None or task.hold.kind in kinds:
        return
    wanted = {
        "approval": "it has to be approved",
        "canary": "promote it",
        "wave": "promote it",
        "operator": "resume it",
        "failures": "resume it",
        "freeze": "the freeze has to be lifted",
        "schedule": "its time has not come",
        "window": "its release window is closed",
    }[task.hold.kind]
    raise WrongStateError(f"cannot {what} deploy task {task.id}: {task.hold.reason}; {wanted}")
