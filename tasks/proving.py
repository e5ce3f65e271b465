"""Proves a client's version after its script ended well: looks, judges, and looks again until it held long enough."""

from datetime import timedelta

from prefect import get_run_logger

from agent.errors import AgentError, PermanentAgentError
from agent.wire.containers import ContainerCollectRequest
from agent.wire.executions import Execution
from agent.wire.monitors import PutMonitor
from db.models import utc_now
from tasks.decisions.evidence import Reason, Seen, Verdict, Wanted, evidence_of, judge
from tasks.observing import look, wanted_of
from tasks.outcomes import Outcome
from tasks.recipes import ContainerRecipe
from tasks.retrying import keep_asking
from tasks.rollout import ClientRun, Rollout

SHORTEST_WAIT_S, LONGEST_WAIT_S = 0.5, 5.0
WATCH_WINDOW_S = 30.0
"""How long an agent is asked to keep watching a version that is proven already."""


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
    await _keep_watching(rollout, run)
    return Outcome(
        "success",
        exit_code=execution.exit_code,
        output=execution.output_tail,
        evidence=evidence,
        container=execution.container,
    )


async def _judge_until_clear(rollout: Rollout, run: ClientRun, wanted: Wanted) -> tuple[Verdict, Seen]:
    """Look until the verdict is final, the health timeout is over, or the deploy task is killed."""
    release = rollout.release
    run.proving_since = run.proving_since or utc_now()
    deadline = run.proving_since + timedelta(seconds=release.strategy.health_timeout_s)
    wait_s = SHORTEST_WAIT_S
    while True:
        seen = await look(rollout.api_of(run), release.project_id, run.work, wanted)
        verdict = judge(wanted, run.first_look, seen, seen.at)
        early = verdict.reason is Reason.TOO_EARLY
        if early and run.first_look is None:
            run.first_look = seen
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


async def _keep_watching(rollout: Rollout, run: ClientRun) -> None:
    """From now on the agent reports the version's processes by itself; after an uninstall it no longer does.

    What a client's containers are now is reported at once.
    """
    window_s = min(rollout.settings.retry_window_s, WATCH_WINDOW_S)
    try:
        await _watch_processes(rollout, run, window_s)
        if isinstance(run.work.recipe, ContainerRecipe):
            api = rollout.api_of(run)
            reported = await keep_asking(
                lambda: api.report_containers(ContainerCollectRequest(all=True)), window_s
            )
            if not reported.delivered:
                get_run_logger().warning(
                    "%s: its container report waits: %s", run.work.client_id, reported.error
                )
    except AgentError as error:
        get_run_logger().warning("%s is upgraded, but not watched: %s", run.work.client_id, error)


async def _watch_processes(rollout: Rollout, run: ClientRun, window_s: float) -> None:
    api, release, recipe = rollout.api_of(run), rollout.release, run.work.recipe
    if release.operation == "uninstall":
        await keep_asking(lambda: api.delete_monitor(release.project_id), window_s)
        return
    config = recipe.process_config
    if config is None or (isinstance(recipe, ContainerRecipe) and not config.rules):
        return
    monitor = PutMonitor(
        version=run.work.to_version,
        release_id=release.deploy_task_id,
        process_config=config,
        version_probe=recipe.evidence.version_probe,
        work_dir=recipe.work_dir,
        run_as=recipe.run_as,
    )
    await keep_asking(lambda: api.put_monitor(release.project_id, monitor), window_s)
