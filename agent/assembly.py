"""Puts the agent together from its parts."""

from datetime import UTC, datetime

from agent.app import Lifespan, build_app
from agent.containers.collector import ContainerCollector
from agent.containers.endpoints import container_endpoints
from agent.containers.engine import Engine
from agent.containers.service import Containers
from agent.containers.swap.endpoints import deploy_endpoint
from agent.containers.swap.way import ContainerWay
from agent.containers.watching import ContainerWatch
from agent.endpoints import Endpoint
from agent.executions.endpoints import execution_endpoints
from agent.executions.executions import Executions
from agent.fences import Fences
from agent.guard import Guard
from agent.info import info_endpoints
from agent.monitors.building import build_monitors, build_reporting
from agent.monitors.endpoints import monitor_endpoints
from agent.pods.cluster import Cluster
from agent.pods.collector import PodCollector
from agent.pods.endpoints import pod_endpoints
from agent.pods.reporting import PodReports
from agent.pods.rollout.endpoints import rollout_endpoint
from agent.pods.rollout.way import KubernetesWay
from agent.pods.service import Pods
from agent.processes.collector import ProcessCollector
from agent.processes.endpoints import process_endpoints
from agent.releases.endpoints import release_endpoints
from agent.releases.installed import Installations
from agent.settings import AgentSettings


def assemble(settings: AgentSettings) -> Guard:
    """The whole agent as one ASGI application; its lifespan starts and stops the parts."""
    fences = Fences(settings.state_dir)
    engine = Engine(settings.docker_host)
    swaps = ContainerWay(settings, engine)
    cluster = Cluster(settings.kubeconfig)
    rollouts = KubernetesWay(settings, cluster)
    executions = Executions(settings, fences, containers=swaps, kubernetes=rollouts)
    installations = Installations(settings.state_dir)
    executions.on_success(installations.record)
    collector = ProcessCollector(executions.own_pids)
    reporting = build_reporting(settings, collector)
    containers = Containers(
        settings.client_id, engine, ContainerCollector(engine), reporting.spool, reporting.delivery
    )
    pods = Pods(settings.client_id, cluster, PodCollector(cluster), reporting.spool, reporting.delivery)
    watch = ContainerWatch(containers, engine.host)
    monitors = build_monitors(settings, reporting, watch, PodReports(pods))
    executions.on_success(monitors.on_success)
    endpoints: list[Endpoint] = [
        *info_endpoints(settings, datetime.now(UTC), containers.version, pods.version),
        *execution_endpoints(executions),
        *release_endpoints(installations),
        *process_endpoints(collector, reporting),
        *monitor_endpoints(monitors),
        *container_endpoints(containers),
        deploy_endpoint(executions),
        *pod_endpoints(pods),
        rollout_endpoint(executions),
    ]
    lifespans: list[Lifespan] = [
        swaps.lifespan,
        rollouts.lifespan,
        executions.lifespan,
        monitors.lifespan,
        pods.lifespan,
    ]
    return build_app(settings, endpoints, fences=fences, lifespans=lifespans)
