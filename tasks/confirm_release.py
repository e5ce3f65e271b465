"""The Prefect task that proves one client's version and writes down what became of it."""

from typing import Any

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Failed

from agent.errors import TransientAgentError
from tasks.outcomes import Outcome
from tasks.proving import prove_version
from tasks.retrying import JITTER, asks_again, first_asked, is_transient, retry_delays
from tasks.rollout import ROLLOUT
from tasks.run_release import recorded
from tasks.settings import RolloutSettings

TIMEOUT_MARGIN_S = 600.0


@task(
    name="confirm_release",
    task_run_name="{client}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retry_condition_fn=is_transient,
)
async def confirm_release(client: str) -> State[Any]:
    """Collect, judge, record. Ends Failed where the version is not proven within the health timeout."""
    rollout = ROLLOUT.get()
    run = rollout.clients[client]
    assert run.execution is not None
    run.asked_since = first_asked(run.asked_since)
    try:
        outcome = await prove_version(rollout, run, run.execution)
    except TransientAgentError as error:
        if asks_again(rollout.settings.retry_window_s, run.asked_since) and not rollout.brakes.cancelled:
            return Failed(message=str(error), data=error)
        outcome = Outcome(
            "unknown",
            f"its {run.work.recipe.noun} ended well, then its agent could not be asked: {error}",
            exit_code=run.execution.exit_code,
            output=run.execution.output_tail,
            container=run.execution.container,
        )
    return await recorded(rollout, run, outcome)


def configured(settings: RolloutSettings, longest_s: float) -> Task[[str], Any]:
    """The task with this run's retries; `longest_s`: what it may take at most, being healthy and then stable."""
    delays = retry_delays(settings.retry_window_s)
    return confirm_release.with_options(
        retries=len(delays),
        retry_delay_seconds=delays,
        retry_jitter_factor=JITTER,
        timeout_seconds=longest_s + TIMEOUT_MARGIN_S,
    )
