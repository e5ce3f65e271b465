"""Proves a client's version after its script ended well: looks, judges, and looks again until it held long enough."""

import time
from datetime import timedelta

from agent.errors import PermanentAgentError
from agent.wire.executions import Execution
from db.models import utc_now
from tasks.decisions.evidence import Reason, Seen, Verdict, Wanted, evidence_of, judge
from tasks.observing import look, wanted_of
from tasks.outcomes import Outcome
from tasks.rollout import ClientRun, Rollout
from tasks.usage import mean_usage, usage_in
from tasks.watching import keep_watching

SHORTEST_WAIT_S, LONGEST_WAIT_S = 0.5, 5.0


async def prove_version(rollout: Rollout, run: ClientRun, execution: Execution) -> Outcome:
    """Success with what was seen, or failed with what was seen instead. Raises TransientAgentError."""
    release = rollout.release
    wanted = wanted_of(run.work, release.operation, release.strategy.stable_for_s, execution)
    try:
        verdict, seen = await _judge_until_clear(rollout, run, wanted)
    except PermanentAgentError as error:
        return Outcome(
            "failed",
            f"its {run.work.recipe.noun} ended well, but nothing proves it: {error}",
            exit_code=execution.exit_code,
            container=execution.container,
        )
    evidence = evidence_of(wanted, run.first_look, seen, verdict, seen.at)
    if not verdict.held:
        said = f"not proven: {verdict.reason}: {verdict.detail}"
        return Outcome(
            "failed",
            said[:2000],
            exit_code=execution.exit_code,
            output=execution.output_tail,
            evidence=evidence,
            container=execution.container,
        )
    await keep_watching(rollout, run)
    return Outcome(
        "success",
        exit_code=execution.exit_code,
        output=execution.output_tail,
        evidence=evidence,
        container=execution.container,
        usage=mean_usage(run.loads) or usage_in(seen),
    )


async def _judge_until_clear(rollout: Rollout, run: ClientRun, wanted: Wanted) -> tuple[Verdict, Seen]:
    """Look until the verdict is final, the health timeout is over, or the deploy task is killed."""
    release = rollout.release
    run.proving_since = run.proving_since or utc_now()
    deadline = run.proving_since + timedelta(seconds=release.strategy.health_timeout_s)
    wait_s = SHORTEST_WAIT_S
    while True:
        seen = await look(rollout.api_of(run), release.project_id, run.work, wanted)
        run.asked_since = time.monotonic()  # it answers: whatever fails next has the whole window
        verdict = judge(wanted, run.first_look, seen, seen.at)
        if (load := usage_in(seen)) is not None and run.first_look is not None:
            run.loads.append(load)
        early = verdict.reason is Reason.TOO_EARLY
        if early and run.first_look is None:
            run.first_look, run.loads = seen, []
        if verdict.reason is Reason.STILL_RUNNING:
            run.first_look = None  # it came back: what was gone has to stay gone anew
        if not verdict.retry or (not early and seen.at >= deadline):
            return verdict, seen
        if early and run.first_look is not None:
            left = wanted.stable_for_s - (seen.at - run.first_look.at).total_seconds()
            wait_s = min(max(left, 0.01), LONGEST_WAIT_S)
        else:
            left = (deadline - seen.at).total_seconds()
            wait_s = min(wait_s * 1.5, LONGEST_WAIT_S, max(left, 0.01))
        if await rollout.brakes.sleep(wait_s):
            return Verdict(
                verdict.reason, False, f"the deploy task was cancelled; {verdict.detail}", False
            ), seen
