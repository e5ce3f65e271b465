"""One client's script: started once, or found again by its execution id, and waited for until it ends."""

from agent.client import AgentApi
from agent.errors import PermanentAgentError, TransientAgentError
from agent.wire.executions import ExecuteRequest, Execution, ExecutionState
from tasks.outcomes import Outcome, failed_script
from tasks.retrying import keep_asking
from tasks.rollout import ClientRun, Rollout


async def run_script(rollout: Rollout, run: ClientRun) -> Execution | Outcome:
    """The execution that succeeded, or the outcome of one that did not.

    Raises TransientAgentError while the agent can't be reached and no execution of it is known to exist.
    """
    api = rollout.api_of(run)
    try:
        if not run.known and (answered := (await api.info()).client_id) != run.work.client_id:
            return Outcome("failed", f"the agent at its address is {answered}'s", ran=False)
        run.known = True
        execution = await _start(rollout, run, api)
    except PermanentAgentError as error:
        return Outcome("failed", str(error), ran=False)
    try:
        execution = await _wait(rollout, run, api, execution)
    except (TransientAgentError, PermanentAgentError) as error:
        return Outcome("unknown", f"its script was started, then its agent could not be asked: {error}")
    return execution if execution.state is ExecutionState.SUCCEEDED else failed_script(execution)


async def _start(rollout: Rollout, run: ClientRun, api: AgentApi) -> Execution:
    """Ask for the execution where it may be there already; else start it."""
    if run.sent:
        try:
            return await api.execution(run.execution_id, wait_s=0)
        except PermanentAgentError as error:
            if error.status != 404:
                raise
    await rollout.begin(run)
    try:
        execution = await api.execute(_request(rollout, run))
    except TransientAgentError as error:
        run.sent = run.sent or error.may_have_arrived
        raise
    run.sent = True
    return execution


def _request(rollout: Rollout, run: ClientRun) -> ExecuteRequest:
    work, recipe, release = run.work, run.work.recipe, rollout.release
    return ExecuteRequest(
        execution_id=run.execution_id,
        release_id=release.deploy_task_id,
        project_id=release.project_id,
        target_id=work.target_id,
        operation=release.operation,
        version=work.to_version,
        script=recipe.script,
        work_dir=recipe.work_dir,
        previous_version=work.from_version,
        env=recipe.env,
        timeout_s=recipe.timeout_s,
        interpreter=recipe.interpreter,
        run_as=recipe.run_as,
        detach_process=recipe.detach_process,
        detach_method=recipe.detach_method,
    )


async def _wait(rollout: Rollout, run: ClientRun, api: AgentApi, execution: Execution) -> Execution:
    """Long polls until it ends. A kill cancels it once, and then waits for what becomes of it."""
    window_s, poll_s = rollout.settings.retry_window_s, rollout.settings.poll_s
    cancelled = False
    while not execution.state.ended:
        if rollout.brakes.killing and not cancelled:
            await keep_asking(lambda: api.cancel(run.execution_id), window_s)
            cancelled = True
        asked = keep_asking(lambda: api.execution(run.execution_id, wait_s=poll_s), window_s)
        answer = await (asked if cancelled else rollout.brakes.unless_killed(asked))
        execution = answer or execution
    return execution
