"""One client, step by step: its script, then its proof; and what its failure means for the rest."""

from contextlib import suppress
from functools import cache
from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State

from tasks import confirm_release as confirming
from tasks import run_release as running
from tasks.decisions.thresholds import Course, decide_course
from tasks.errors import LeaseLostError
from tasks.outcomes import Outcome
from tasks.rollout import ClientRun, Rollout
from tasks.settings import RolloutSettings


@cache
def _running(settings: RolloutSettings, timeout_s: int) -> Task[[str], Any]:
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
    async with rollout.slots:
        if not may_go_on(rollout, run):
            return
        state = await state_of(_running(settings, run.work.recipe.timeout_s), client)
    if run.execution is not None:
        strategy = rollout.release.strategy
        longest_s = strategy.health_timeout_s + strategy.stable_for_s
        confirm = _confirming(settings, longest_s)
        state = await state_of(confirm, client)
    if run.outcome is None and not rollout.brakes.lost:
        with suppress(LeaseLostError):
            await rollout.record(run, Outcome("unknown", f"its task run broke off: {state.message}"))
    check_threshold(rollout)


def may_go_on(rollout: Rollout, run: ClientRun) -> bool:
    """Whether to work on the client: the brakes keep those from starting that have not; who is in flight is finished."""
    in_flight = run.status == "running"
    return not rollout.brakes.pulled or (in_flight and not rollout.brakes.lost)


def check_threshold(rollout: Rollout) -> None:
    """Pull the brakes where more clients failed than are allowed, and the deploy task is to stop then."""
    release, failures = rollout.release, rollout.failures
    allowed = release.strategy.max_failures
    course = decide_course(failures, release.total, allowed, release.failure_strategy)
    if course is Course.ABORT:
        rollout.brakes.stop(f"{failures} failed, {allowed} allowed")
