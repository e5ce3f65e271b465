"""How a run goes through its clients: what is next is decided, done, and decided anew, until nothing is left to do."""

from typing import Any

from prefect import get_run_logger
from sqlalchemy.orm import Session

from db.models import utc_now
from db.queries.clients import held_clients
from db.queries.deploy_tasks import get_deploy_task
from tasks import artifacts
from tasks.decisions.rollout import DONE, Action, Next, decide_next
from tasks.going_back import go_back
from tasks.holding import hold
from tasks.name_containers import name_containers, named_runs
from tasks.planning.changes import changed_clients
from tasks.rollout import Rollout
from tasks.standing import read_situation
from tasks.usage import read_changes
from tasks.waves import roll_wave


async def roll_out(rollout: Rollout) -> None:
    """Until every client has its outcome, or nobody else is to be started. Containers get their names before any starts."""
    if named_runs(rollout):
        await name_all()
    before: tuple[Next, dict[str, str]] | None = None
    while not rollout.brakes.lost:
        step = await decide(rollout)
        now = (step, rollout.all_statuses)
        if step.action is Action.FINISH or (now == before and not _may_repeat(rollout, step)):
            if step.reason != DONE:
                rollout.brakes.stop(step.reason)
            return
        before = now
        await _do(rollout, step)


def _may_repeat(rollout: Rollout, step: Next) -> bool:
    """Whether a step that changed nothing is to follow itself: a wait, or a wave that a pause kept back which is over by now.

    No wave is decided on while a pause lasts, so one pause repeats it once.
    """
    return step.action is Action.HOLD or (step.wave is not None and rollout.brakes.held)


async def decide(rollout: Rollout) -> Next:
    """What is next."""
    assert rollout.rules is not None
    situation = await rollout.read(lambda session: read_situation(session, rollout))
    rollout.forgiven_failures = situation.forgiven
    return decide_next(rollout.rules, situation)


async def _do(rollout: Rollout, step: Next) -> None:
    if step.action is Action.HOLD:
        await hold(rollout, step)
        return
    if step.action is Action.ROLL_BACK:
        await go_back(rollout, step.clients, step.reason, stops=step.last)
        return
    get_run_logger().info("%s: %s clients", step.reason, len(step.clients))
    name = "in flight" if step.wave is None else f"wave {step.wave + 1}"
    rollout.brakes.let_go()
    rollout.held, rollout.changed = await rollout.read(lambda session: _passed_over(session, rollout, step))
    await roll_wave(rollout, name, [rollout.clients[client] for client in step.clients])
    await _show_usage(rollout)


def _passed_over(session: Session, rollout: Rollout, step: Next) -> tuple[dict[str, str], dict[str, str]]:
    """Who is held, and of who is to be started who is not what the plan was made for: another deploy task was there."""
    task, now = get_deploy_task(session, rollout.release.deploy_task_id), utc_now()
    return held_clients(session, now), changed_clients(session, task, step.clients, now)


async def _show_usage(rollout: Rollout) -> None:
    """What the new version uses, against the one before it, where both were measured."""
    changes = await rollout.read(lambda session: read_changes(session, rollout.release))
    if changes:
        await artifacts.show_usage(rollout.release, changes)


async def name_all() -> None:
    """The task run that names the containers. Prefect's types say that `return_state` is synchronous; it is not."""
    naming: Any = name_containers
    await naming(return_state=True)
