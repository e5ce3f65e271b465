"""One look at a client: its processes, its container, its pods, what its version's probe answers, whether its checks pass."""

from agent.client import AgentApi
from agent.wire.containers import CollectedContainers, ContainerCollectRequest, ContainerListRequest
from agent.wire.executions import DeployedContainer, Execution, Operation
from agent.wire.pods import PodCollectRequest, PodInfo
from agent.wire.processes import Collected, CollectRequest, Rule
from agent.wire.releases import CheckAnswer, CheckRequest
from db.models import utc_now
from tasks.decisions.deployment_names import deployment_name
from tasks.decisions.evidence import Seen, Wanted
from tasks.decisions.pod_evidence import TEMPLATE_HASH, pods_of
from tasks.recipes import ContainerRecipe, KubernetesRecipe, Recipe
from tasks.work import ClientWork

LONGEST_PREFIX = 100
"""A container whose name is longer is found among all of the host's."""


def wanted_of(work: ClientWork, operation: Operation, stable_for_s: float, execution: Execution) -> Wanted:
    """What has to be seen on the client before its version counts as proven."""
    evidence = work.recipe.evidence
    return Wanted(
        version=work.to_version,
        operation=operation,
        source=evidence.source,
        rules=tuple(rule.name for rule in _rules(work.recipe)),
        has_probe=evidence.version_probe is not None,
        has_checks=bool(evidence.checks),
        reload_in_place=evidence.reload_in_place,
        stable_for_s=stable_for_s,
        execution_started_at=execution.started_at,
        container=execution.container,
        is_container=isinstance(work.recipe, ContainerRecipe),
        kubernetes=execution.kubernetes,
        is_kubernetes=isinstance(work.recipe, KubernetesRecipe),
    )


def _rules(recipe: Recipe) -> tuple[Rule, ...]:
    return recipe.process_config.rules if recipe.process_config else ()


async def look(api: AgentApi, project_id: str, work: ClientWork, wanted: Wanted) -> Seen:
    """What is there now; asks only for what the version says something about. Raises AgentError."""
    recipe = work.recipe
    collected, checked = Collected(), CheckAnswer(installed=False)
    if _rules(recipe):
        collected = await api.collect(CollectRequest(project_id=project_id, rules=_rules(recipe)))
    evidence = recipe.evidence
    probe = evidence.version_probe if wanted.operation != "uninstall" else None
    if probe or evidence.checks:
        checked = await api.check(
            CheckRequest(
                project_id=project_id,
                work_dir=recipe.work_dir,
                version_probe=probe,
                checks=evidence.checks,
                run_as=recipe.run_as,
            )
        )
    containers = await _containers(api, project_id, work, wanted)
    return Seen(
        at=utc_now(),
        boot_id=collected.boot_id,
        processes=collected.processes,
        unmatched_rules=collected.unmatched_rules,
        observed_version=checked.observed_version,
        probe_error=checked.probe_error,
        checks=checked.checks,
        containers=containers.containers,
        containers_at=containers.collected_at,
        pods=await _pods(api, work),
    )


async def _containers(
    api: AgentApi, project_id: str, work: ClientWork, wanted: Wanted
) -> CollectedContainers:
    """The container that was deployed; for an uninstall whatever of the project the client still has."""
    if not isinstance(work.recipe, ContainerRecipe):
        return CollectedContainers()
    if wanted.operation == "uninstall":
        listed = await api.list_containers(ContainerListRequest())
        mine = tuple(
            one
            for one in listed.containers
            if one.project_id == project_id and one.client_id in (None, work.client_id)
        )
        return CollectedContainers(containers=mine)
    if wanted.container is None:
        return CollectedContainers()
    collected = await api.collect_containers(_asking_for(wanted.container))
    found = tuple(one for one in collected.containers if one.container_id == wanted.container.container_id)
    return collected.model_copy(update={"containers": found})


def _asking_for(container: DeployedContainer) -> ContainerCollectRequest:
    name = container.container_name
    if len(name) > LONGEST_PREFIX:
        return ContainerCollectRequest(all=True)
    return ContainerCollectRequest(prefixes=(name,))


async def _pods(api: AgentApi, work: ClientWork) -> tuple[PodInfo, ...]:
    """The Deployment's, of any revision."""
    recipe = work.recipe
    if not isinstance(recipe, KubernetesRecipe):
        return ()
    asked = PodCollectRequest(namespace=recipe.config.namespace, label_selector=TEMPLATE_HASH)
    name = deployment_name(recipe.config, recipe.naming, work.environment)
    return pods_of(name, (await api.collect_pods(asked)).pods)
