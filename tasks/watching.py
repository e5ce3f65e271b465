"""What the agent is asked for once a deployment has ended: a report at once, and to go on reporting by itself.

It helps people, and fails no client: what an agent does not do within its time is a line in the log.
"""

import asyncio

from prefect import get_run_logger

from agent.errors import AgentError
from agent.wire.containers import ContainerCollectRequest, ContainerReported
from agent.wire.pods import PodCollectRequest, PodReported
from agent.wire.processes import ProcessConfig, Reported, ReportRequest
from db.queries.installations import find_installation
from db.queries.versions import find_version
from tasks.monitors import make_monitor
from tasks.outcomes import Outcome
from tasks.recipes import ContainerRecipe, KubernetesRecipe
from tasks.retrying import keep_asking
from tasks.rollout import ClientRun, Rollout

WATCH_WINDOW_S = 30.0
"""How long an agent is asked to keep watching a version that is proven already."""


async def keep_watching(rollout: Rollout, run: ClientRun) -> None:
    """From now on the agent reports the version's processes by itself; after an uninstall it no longer does.

    What a client's containers or pods are now is reported at once.
    """
    try:
        await _watch_processes(rollout, run)
        await _report_containers(rollout, run)
        await _report_pods(rollout, run)
    except AgentError as error:
        get_run_logger().warning("%s is upgraded, but not watched: %s", run.work.client_id, error)


async def report_what_is_left(rollout: Rollout, run: ClientRun, outcome: Outcome) -> None:
    """After a deployment that failed: have the agent report at once what runs now. The monitor stays as it was."""
    if not outcome.ran or outcome.status != "failed":
        return
    try:
        await _report_processes(rollout, run)
        await _report_containers(rollout, run)
        await _report_pods(rollout, run)
    except AgentError as error:
        get_run_logger().warning("%s could not report what runs now: %s", run.work.client_id, error)


async def _watch_processes(rollout: Rollout, run: ClientRun) -> None:
    api, release, recipe = rollout.api_of(run), rollout.release, run.work.recipe
    if release.operation == "uninstall":
        await keep_asking(lambda: api.delete_monitor(release.project_id), _window_s(rollout))
        return
    config, containers = recipe.process_config or ProcessConfig(), isinstance(recipe, ContainerRecipe)
    pods_in = recipe.config.namespace if isinstance(recipe, KubernetesRecipe) else None
    needed = "monitor_containers" if containers else "monitor_pods" if pods_in is not None else None
    if needed is not None and not config.rules and needed not in (await api.info()).features:
        return  # an agent of before would send reports of nothing
    monitor = make_monitor(
        version=run.work.to_version,
        release_id=release.deploy_task_id,
        process_config=config,
        evidence=recipe.evidence,
        work_dir=recipe.work_dir,
        run_as=recipe.run_as,
        containers=containers,
        pods_in=pods_in,
    )
    await keep_asking(lambda: api.put_monitor(release.project_id, monitor), _window_s(rollout))


async def _report_processes(rollout: Rollout, run: ClientRun) -> None:
    """By the rules of the version that is recorded there: by those the release API judges it."""
    found = await asyncio.to_thread(_recorded, rollout, run)
    version, config = found or (run.work.to_version, run.work.recipe.process_config)
    if config is None or not config.rules:
        return
    release, client = rollout.release, run.work.client_id
    request = ReportRequest(
        project_id=release.project_id,
        rules=config.rules,
        version=version,
        release_id=release.deploy_task_id,
    )
    _log_late(client, "process", await rollout.api_of(run).report(request))


def _recorded(rollout: Rollout, run: ClientRun) -> tuple[str, ProcessConfig | None] | None:
    """The version that is recorded on the client, and its rules; None: none is, or nobody knows its rules."""
    with rollout.database.read() as session:
        installation = find_installation(session, run.work.target_id)
        if installation is None or installation.status == "uninstalled":
            return None
        version = find_version(session, rollout.release.project_id, installation.version)
        return (version.version, version.process_config) if version is not None else None


async def _report_containers(rollout: Rollout, run: ClientRun) -> None:
    if not isinstance(run.work.recipe, ContainerRecipe):
        return
    api, request = rollout.api_of(run), ContainerCollectRequest(all=True)
    reported = await keep_asking(lambda: api.report_containers(request), _window_s(rollout))
    _log_late(run.work.client_id, "container", reported)


async def _report_pods(rollout: Rollout, run: ClientRun) -> None:
    recipe = run.work.recipe
    if not isinstance(recipe, KubernetesRecipe):
        return
    api, request = rollout.api_of(run), PodCollectRequest(namespace=recipe.config.namespace)
    reported = await keep_asking(lambda: api.report_pods(request), _window_s(rollout))
    _log_late(run.work.client_id, "pod", reported)


def _log_late(client: str, what: str, reported: Reported | ContainerReported | PodReported) -> None:
    if not reported.delivered:
        get_run_logger().warning("%s: its %s report waits: %s", client, what, reported.error)


def _window_s(rollout: Rollout) -> float:
    return min(rollout.settings.retry_window_s, WATCH_WINDOW_S)
