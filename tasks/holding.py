"""Waiting: for a person, in Prefect's pause; for a time, without one. What is waited for is in the database, and so is its end.

The release API and Prefect's resume both write there what was said; the run looks every second and goes on. So a run
that was killed while it waited is followed by one that waits for the same.
"""

import asyncio

from prefect import get_run_logger
from sqlalchemy.orm import Session

from db.documents.hold import HoldState
from db.errors import TransientDatabaseError
from db.models import utc_now
from db.queries.deploy_tasks import get_deploy_task
from tasks import artifacts
from tasks.asking import HoldAnswer, ask, resume_run
from tasks.decisions.rollout import Hold, Next, decide_next
from tasks.errors import PlanningError, WrongStateError
from tasks.planning.controls import request_cancel
from tasks.planning.steering import hold_at, promote, resume, roll_back
from tasks.planning.telling import tell
from tasks.rollout import Rollout
from tasks.standing import read_situation

BY_PERSON = (Hold.APPROVAL, Hold.CANARY, Hold.WAVE, Hold.FAILURES, Hold.OPERATOR)
WHO = "prefect"
"""Who is written down where Prefect's page was used: it doesn't say who that was."""
ASKED_AGAIN_S = 5.0
NOT_THERE = (
    "This can't be approved here: another token than its creator's has to, with "
    "`POST /release/tasks/{deploy_task_id}/approve`."
)


async def hold(rollout: Rollout, step: Next) -> None:
    """Wait until something else is to be done than this."""
    assert step.hold is not None
    get_run_logger().warning("waiting: %s", step.reason)
    await rollout.commit_as_holder(lambda session: _begin(session, rollout, step))
    await artifacts.show_hold(rollout.release, step)
    over = asyncio.create_task(_until_over(rollout, step))
    try:
        if step.hold in BY_PERSON:
            await _ask_until(over, rollout, step)
        await over
    finally:
        over.cancel()
    if not rollout.brakes.lost:
        await rollout.commit_as_holder(lambda session: _end(session, rollout))


def _begin(session: Session, rollout: Rollout, step: Next) -> None:
    assert step.hold is not None
    task, now = get_deploy_task(session, rollout.release.deploy_task_id, lock=True), utc_now()
    before = task.hold
    same = before is not None and (before.kind, before.reason) == (step.hold.value, step.reason)
    hold_at(
        task,
        HoldState(
            kind=step.hold.value,
            wave=step.wave or 0,
            reason=step.reason[:1000],
            since=before.since if same and before is not None else now,
            until=step.until,
        ),
    )
    if step.until is None and not same:
        tell(session, task, "needs_person", f"waits: {step.reason}", now)


def _end(session: Session, rollout: Rollout) -> None:
    hold_at(get_deploy_task(session, rollout.release.deploy_task_id, lock=True), None)


async def _until_over(rollout: Rollout, step: Next) -> None:
    """Every second: is it still this that is to be waited for?"""
    while not rollout.brakes.lost:
        await asyncio.sleep(rollout.settings.watch_s)
        try:
            now = await asyncio.to_thread(_decide, rollout)
        except TransientDatabaseError as error:
            get_run_logger().warning("cannot see whether to go on, will look again: %s", error)
            continue
        if (now.hold, now.wave, now.until, now.reason) != (step.hold, step.wave, step.until, step.reason):
            return


def _decide(rollout: Rollout) -> Next:
    assert rollout.rules is not None
    with rollout.database.read() as session:
        return decide_next(rollout.rules, read_situation(session, rollout))


async def _ask_until(over: "asyncio.Task[None]", rollout: Rollout, step: Next) -> None:
    """In Prefect's pause until it is over. An answer that can't be taken is followed by the same question, with why."""
    said = ""
    while not over.done():
        asking = asyncio.create_task(ask(rollout.release, step, said))
        await asyncio.wait({over, asking}, return_when=asyncio.FIRST_COMPLETED)
        if not asking.done():
            asking.cancel()
            await asyncio.wait({asking})
            break
        answer = asking.result()
        if answer is None:
            await asyncio.wait({over}, timeout=ASKED_AGAIN_S)
            continue
        said = await _take(rollout, step, answer)
        if said:
            get_run_logger().warning("%s", said)
        else:
            await asyncio.wait({over})
    await resume_run()


async def _take(rollout: Rollout, step: Next, answer: HoldAnswer) -> str:
    """Write down what was said on Prefect's page; answers why that can't be, or nothing."""
    deploy_task_id = rollout.release.deploy_task_id
    if step.hold is Hold.APPROVAL and answer.decision == "promote":
        return NOT_THERE.format(deploy_task_id=deploy_task_id)

    def change(session: Session) -> None:
        task, now = get_deploy_task(session, deploy_task_id), utc_now()
        if answer.decision == "abort":
            request_cancel(session, task, "finish", WHO, now, comment=answer.comment)
        elif answer.decision == "roll_back":
            roll_back(session, task, WHO, now, answer.comment)
        elif step.hold in (Hold.CANARY, Hold.WAVE):
            promote(session, task, WHO, now, answer.comment)
        else:
            resume(session, task, WHO, now, answer.comment)

    try:
        await rollout.commit_as_holder(change)
    except (PlanningError, WrongStateError) as error:
        return str(error)
    return ""
