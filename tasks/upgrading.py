"""One client, step by step: its script, then its proof; and what its failure means for the rest."""

from contextlib import suppress
from functools import cache
from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State
from sqlalchemy.orm import Session

from db.models import utc_now
from db.queries.deploy_tasks import get_deploy_task
from tasks import confirm_release as confirming
from tasks import run_release as running
from tasks.decisions.rollout import Rules, Situation, too_many_failures
from tasks.errors import LeaseLostError
from tasks.outcomes import Outcome
from tasks.rollout import ClientRun, Rollout
from tasks.settings import RolloutSettings
from tasks.standing import regression_of


@cache
def _running(settings: RolloutSettings, timeout_s: float) -> Task[[str], Any]:
    return running.configured(settings, timeout_s)


@cache
def _confirming(settings: RolloutSettings, timeout_s: float) -> Task[[str], Any]:
    return confirming.configured(settings, timeout_s)


async def state_of(task: Any, client: str) -> State[Any]:
    """The last state of the client's task run. Prefect's types say that `return_state` is synchronous; it is not."""
    state: State[Any] = await task(client, return_state=True)
    return state


async def upgrade_client(rollout: Rollout, run: ClientRun) -> None:
    """One client, with a task run for each of its steps. Only the script holds a slot, waiting for stability does not."""
    client, settings = run.work.client_id, rollout.settings
    while True:
        run.offline = False
        async with rollout.slots:
            if not may_go_on(rollout, run) or await rollout.pass_over(run):
                return
            state = await state_of(_running(settings, run.work.recipe.longest_s), client)
        if not run.offline:
            break
        await rollout.brakes.sleep(settings.offline_retry_s)
    if run.left:
        return
    if run.execution is not None:
        strategy = rollout.release.strategy
        longest_s = strategy.health_timeout_s + strategy.stable_for_s
        confirm = _confirming(settings, longest_s)
        state = await state_of(confirm, client)
    if run.outcome is None and not rollout.brakes.lost:
        with suppress(LeaseLostError):
            await rollout.record(run, Outcome("unknown", f"its task run broke off: {state.message}"))
    await check_thresholds(rollout)


def may_go_on(rollout: Rollout, run: ClientRun) -> bool:
    """Whether to work on the client: the brakes keep those from starting that have not; who is in flight is finished."""
    in_flight = run.status == "running"
    return not rollout.brakes.pulled or (in_flight and not rollout.brakes.lost)


async def check_thresholds(rollout: Rollout) -> None:
    """Start no further client where more failed than may, or use more than before: the next step is decided anew then."""
    rules = rollout.rules
    if rules is None or rules.failure_strategy == "continue" or rollout.brakes.pulled:
        return
    if rollout.has_fresh_failures:
        _check_failures(rollout, rules)
    if rollout.is_time_to_compare():
        found = await rollout.read(lambda session: _regression(session, rollout))
        if found is not None:
            rollout.brakes.hold()


def _regression(session: Session, rollout: Rollout) -> str | None:
    task = get_deploy_task(session, rollout.release.deploy_task_id)
    return regression_of(session, task, rollout.release)


def _check_failures(rollout: Rollout, rules: Rules) -> None:
    situation = Situation(rollout.all_statuses, utc_now(), forgiven=rollout.forgiven_failures)
    if too_many_failures(rules, situation) is not None:
        rollout.brakes.hold()
