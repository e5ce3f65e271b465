"""Kubernetes deployments as executions: journalled like a script's, carried out by a thread of the agent's own."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from agent.disk import write_durably
from agent.executions.paths import ExecutionPaths
from agent.executions.record import Command, Record
from agent.executions.steps import Ended, Signals, StepFailed, Steps
from agent.executions.threads import FAILED, SUCCEEDED, ThreadWay
from agent.pods.cluster import Cluster
from agent.pods.errors import ClusterError
from agent.pods.line import ask_within
from agent.pods.rollout.dock import Dock
from agent.pods.rollout.progress import RolloutProgress
from agent.pods.rollout.story import Rollout
from agent.settings import AgentSettings
from agent.wire.executions import DeployedKubernetes
from agent.wire.pods import KubernetesDeployRequest

SEE_WITHIN_S = 5.0
"""A slow cluster must not hold up the agent's end: a process ends within 10 s of SIGTERM."""


class KubernetesWay(ThreadWay):
    """See `Way` in agent/executions/ways.py."""

    def __init__(self, settings: AgentSettings, cluster: Cluster) -> None:
        super().__init__(settings)
        self._cluster = cluster

    def files(self, request: Command, record: Record, paths: ExecutionPaths) -> Mapping[str, bytes]:  # noqa: ARG002 (a Way's)
        """The request itself, to go on from.

        Raises ClusterUnavailable, ClusterRefused (403: the agent may not see the Deployment, or what its rollout is judged
        by) and NoCluster: then nothing is journalled.
        """
        assert isinstance(request, KubernetesDeployRequest)
        look = partial(self._dock(request).look, replica_sets=request.operation != "uninstall")
        ask_within(SEE_WITHIN_S, "cluster-look", look)
        return {"request.json": request.model_dump_json().encode()}

    def carry_out(self, record: Record, paths: ExecutionPaths, signals: Signals) -> tuple[int, str | None]:  # noqa: ARG002 (a Way's)
        """The rollout; what it came to is written also where it failed."""
        request = KubernetesDeployRequest.model_validate_json(paths.request.read_bytes())
        steps = Steps(RolloutProgress(), paths.rollout, paths.output, signals)
        rollout = Rollout(request, self._dock(request), steps, self._settings.client_id)
        code, why = _outcome(rollout, request, steps)
        if why is not None:
            steps.tell(why)
        write_durably(paths.rolled_out, rollout.result.model_dump_json().encode())
        return code, why

    def result_of(self, paths: ExecutionPaths) -> dict[str, Any]:
        """`kubernetes`, or nothing where its files can't be read."""
        try:
            return {"kubernetes": DeployedKubernetes.model_validate_json(paths.rolled_out.read_bytes())}
        except (OSError, ValueError):
            return {}

    def _dock(self, request: KubernetesDeployRequest) -> Dock:
        config = request.kubernetes_config
        return Dock(self._cluster, config.namespace, config.deployment)


def _outcome(
    rollout: Rollout, request: KubernetesDeployRequest, steps: Steps[RolloutProgress]
) -> tuple[int, str | None]:
    """Exit status and why it failed. Raises Abandoned."""
    if steps.now.phase == "revert":
        return FAILED, rollout.put_back(steps.now.why or "it failed")
    uninstall = request.operation == "uninstall"
    try:
        if uninstall:
            rollout.scale_down()
        else:
            rollout.put_in_place()
    except (StepFailed, Ended, ClusterError) as error:
        why = _said(error, request)
        return FAILED, why if uninstall else rollout.put_back(why)
    return SUCCEEDED, None


def _said(error: Exception, request: KubernetesDeployRequest) -> str:
    if not isinstance(error, Ended):
        return str(error)
    if str(error) == "timed_out":
        return f"it was not done after {request.timeout_s} s"
    return "it was cancelled"
