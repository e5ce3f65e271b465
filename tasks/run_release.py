"""The Prefect task that runs one client's script: retried while its agent can't be reached, never when the script failed."""

import time
from datetime import timedelta
from typing import Any

from prefect import Task, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from agent.errors import TransientAgentError
from agent.wire.executions import Execution
from tasks.errors import LeaseLostError
from tasks.executing import run_script
from tasks.outcomes import Outcome, last_lines
from tasks.retrying import JITTER, asks_again, first_asked, is_transient, retry_delays
from tasks.rollout import ROLLOUT, ClientRun, Rollout
from tasks.run_texts import evidence_text
from tasks.settings import RolloutSettings
from tasks.watching import report_what_is_left

TIMEOUT_MARGIN = timedelta(minutes=10)
"""What a task run has beyond its script's own timeout, which the agent keeps: only a stuck one gets there."""


@task(
    name="run_release",
    task_run_name="{client}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retry_condition_fn=is_transient,
)
async def run_release(client: str) -> State[Any]:
    """Run the client's script and wait for its end. Ends Failed, with the last 40 lines in its log, where it failed."""
    rollout = ROLLOUT.get()
    run = rollout.clients[client]
    run.left = run.status == "pending" and rollout.brakes.held
    if run.left:  # meanwhile, between two attempts to reach its agent
        return left(client)
    run.asked_since = first_asked(run.asked_since)
    try:
        ended = await run_script(rollout, run)
    except TransientAgentError as error:
        if asks_again(rollout.settings.retry_window_s, run.asked_since) and not rollout.brakes.cancelled:
            return Failed(message=str(error), data=error)
        if waits_for(rollout, run):
            return Failed(name="Offline", message=f"{client}: {error}; it is waited for")
        ended = given_up(rollout, run, error)
    except LeaseLostError as error:
        return lease_lost(error)
    if isinstance(ended, Execution):
        run.execution = ended
        return Completed(message=f"{client}: the {run.work.recipe.noun} ended well")
    return await recorded(rollout, run, ended) if ended is not None else left(client)


def left(client: str) -> State[Any]:
    """It waits for its turn, which is decided anew."""
    return Completed(name="Left", message=f"{client}: nothing was started, it waits for its turn")


def configured(settings: RolloutSettings, timeout_s: float) -> Task[[str], Any]:
    """The task with this run's retries (over the window) and the execution's time, see `Recipe.longest_s`."""
    delays = retry_delays(settings.retry_window_s)
    return run_release.with_options(
        retries=len(delays),
        retry_delay_seconds=delays,
        retry_jitter_factor=JITTER,
        timeout_seconds=timeout_s + TIMEOUT_MARGIN.total_seconds(),
    )


def waits_for(rollout: Rollout, run: ClientRun) -> bool:
    """Whether the client, on which nothing was started, is one to wait for, and its time is not over."""
    strategy, now = rollout.release.strategy, time.monotonic()
    if run.sent or strategy.offline != "wait" or rollout.brakes.stopped:
        return False
    run.offline_since = run.offline_since or now
    run.offline = now - run.offline_since < strategy.offline_wait_s
    return run.offline


def given_up(rollout: Rollout, run: ClientRun, error: TransientAgentError) -> Outcome:
    """An agent that could not be reached over the whole window: nothing ran, or nobody knows whether it did."""
    if run.sent:
        return Outcome(
            "unknown",
            f"its {run.work.recipe.noun} may have started, then its agent could not be asked: {error}",
        )
    if rollout.release.strategy.offline == "skip" and not rollout.goes_back:
        return Outcome("skipped", f"offline: {error}", ran=False)
    return Outcome("unreachable", str(error), ran=False)


async def recorded(rollout: Rollout, run: ClientRun, outcome: Outcome) -> State[Any]:
    """Write the outcome down; the state of the task run that says so."""
    client = run.work.client_id
    try:
        await rollout.record(run, outcome)
    except LeaseLostError as error:
        return lease_lost(error)
    if outcome.succeeded:
        return Completed(message=f"{client}: {evidence_text(outcome.evidence)}")
    if outcome.status == "skipped":
        return Completed(name="Skipped", message=f"{client}: {outcome.error}")
    await report_what_is_left(rollout, run, outcome)
    return report_failure(client, outcome)


def lease_lost(error: LeaseLostError) -> State[Any]:
    """Another run has the deploy task now: this one writes nothing more about the client."""
    return Failed(name="Lease lost", message=str(error))


def report_failure(client: str, outcome: Outcome) -> State[Any]:
    """The state of a client's task run that failed; says why, and shows the end of the script's output, in its log."""
    logger = get_run_logger()
    if outcome.output:
        logger.error("%s: the last lines of its output:\n%s", client, last_lines(outcome.output))
    logger.error("%s: %s: %s", client, outcome.status, outcome.error)
    return Failed(name=outcome.status.capitalize(), message=f"{client}: {outcome.error}")


@task(name="report_client", task_run_name="{client}", cache_policy=NO_CACHE, persist_result=False)
async def report_client(client: str) -> State[Any]:
    """The task run that a client of a shard gets when it failed."""
    rollout = ROLLOUT.get()
    run = rollout.clients[client]
    assert run.outcome is not None
    await report_what_is_left(rollout, run, run.outcome)
    return report_failure(client, run.outcome)
