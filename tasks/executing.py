"""One client's script: started once, or found again by its execution id, and waited for until it ends."""

from agent.client import AgentApi
from agent.errors import PermanentAgentError, TransientAgentError
from agent.naming import NamingError
from agent.wire.executions import Execution, ExecutionState
from agent.wire.problems import LOWER_FENCE
from tasks.decisions.compatibility import what_is_lacking
from tasks.errors import LeaseLostError, RegistryError
from tasks.outcomes import Outcome, failed_execution
from tasks.recipes import ContainerRecipe, KubernetesRecipe, ScriptRecipe
from tasks.registries import registry_auth
from tasks.requests import deploy_request, execute_request, kubernetes_request
from tasks.retrying import keep_asking
from tasks.rollout import ClientRun, Rollout

FULL_DISK = 507
"""Answered before anything is started: see agent/executions/methods.py."""


async def run_script(rollout: Rollout, run: ClientRun) -> Execution | Outcome | None:
    """The execution that succeeded, or the outcome of one that did not; None where an earlier run never sent it: it waits for its turn.

    Raises TransientAgentError while the agent can't be reached and no execution of it is known to exist, and
    LeaseLostError where another run acts on the client now.
    """
    api, run.left = rollout.api_of(run), False
    try:
        if not run.known and (why := await _why_not(rollout, run, api)) is not None:
            return _refused(run, why)
        run.known = True
        execution = await _start(rollout, run, api)
    except PermanentAgentError as error:
        if is_lower_fence(error):
            rollout.brakes.lose(f"another run acts on {run.work.client_id} now")
            raise LeaseLostError(str(error)) from error
        return _refused(run, str(error))
    except (RegistryError, NamingError) as error:
        return _refused(run, str(error))
    if execution is None:
        not_started = Outcome("skipped", f"not started: {rollout.brakes.reason}", ran=False)
        return None if run.left else not_started
    try:
        execution = await _wait(rollout, run, api, execution)
    except (TransientAgentError, PermanentAgentError) as error:
        return Outcome(
            "unknown", f"its {run.work.recipe.noun} was started, then its agent could not be asked: {error}"
        )
    return (
        execution
        if execution.state is ExecutionState.SUCCEEDED and not execution.exit_code
        else failed_execution(execution, run.work.recipe.noun)
    )


async def _why_not(rollout: Rollout, run: ClientRun, api: AgentApi) -> str | None:
    """Why the agent that answers there is none for this client's version; asked before anything is started."""
    info, recipe = await api.info(), run.work.recipe
    if info.client_id != run.work.client_id:
        return f"the agent at its address is {info.client_id}'s"
    if run.sent:
        return None  # started by an earlier run: what became of it is to be heard
    return what_is_lacking(
        info,
        recipe.evidence,
        rollout.release.operation,
        recipe.run_as,
        container=isinstance(recipe, ContainerRecipe),
        kubernetes=isinstance(recipe, KubernetesRecipe),
    )


def _refused(run: ClientRun, why: str) -> Outcome:
    """The agent won't: nothing ran, unless the script may have been started before it was asked."""
    if run.sent:
        return Outcome(
            "unknown", f"its {run.work.recipe.noun} may have run, but its agent refuses to say: {why}"
        )
    return Outcome("failed", why, ran=False)


def is_lower_fence(error: PermanentAgentError) -> bool:
    """Whether the agent has seen a higher fence: another run has the lease."""
    return error.status == 409 and error.problem is not None and error.problem.title == LOWER_FENCE


async def _start(rollout: Rollout, run: ClientRun, api: AgentApi) -> Execution | None:
    """Ask for the execution where it may be there already; else start it. None where nothing was started, and nothing is to be."""
    if run.sent:
        try:
            return await api.execution(run.execution_id, wait_s=0)
        except PermanentAgentError as error:
            if error.status != 404:
                raise
        if run.reattaches or rollout.brakes.stopped:
            # The request of a run that is only frozen could still arrive: nothing was sent under this fence yet.
            found = await api.cancel_if_known(run.execution_id, rollout.release.project_id)
            if found is None and run.reattaches:
                await rollout.put_off(run)
            return found
        run.sent = False
    if rollout.brakes.stopped:
        return None  # it waited between two attempts to reach its agent: nothing was started
    await rollout.begin(run)
    try:
        execution = await _send(rollout, run, api)
    except TransientAgentError as error:
        run.sent = run.sent or error.may_have_arrived
        raise
    except PermanentAgentError as error:
        run.sent = error.status >= 500 and error.status != FULL_DISK
        raise
    run.sent = True
    return execution


async def _send(rollout: Rollout, run: ClientRun, api: AgentApi) -> Execution:
    recipe = run.work.recipe
    if isinstance(recipe, ContainerRecipe):
        registry = recipe.deploy_config.registry
        auth = await registry_auth(registry, recipe.deploy_config.image) if registry is not None else None
        return await api.deploy_container(deploy_request(rollout, run, recipe, auth))
    if isinstance(recipe, KubernetesRecipe):
        return await api.deploy_to_kubernetes(kubernetes_request(rollout, run, recipe))
    assert isinstance(recipe, ScriptRecipe)
    return await api.execute(execute_request(rollout, run, recipe))


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
