"""A rollout that is not alone: others change its Deployment, rights are taken away, there are more pods than are looked at."""

import itertools
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.executions.paths import ExecutionPaths
from agent.executions.record import Record
from agent.executions.steps import Abandoned, Signals
from agent.pods.cluster import Cluster
from agent.pods.rollout import dock
from agent.pods.rollout.way import KubernetesWay
from agent.settings import AgentSettings
from agent.wire.executions import DeployedKubernetes
from agent.wire.pods import KubernetesDeployRequest
from tests.agents import TOKEN
from tests.integration.agent.kubernetes_agent import DEPLOY, KubernetesAgent
from tests.kubelet import Kubelet
from tests.kubernetes_cluster import AGENT, KubernetesCluster
from tests.real_processes import wait_until

LONGEST_S = 45.0
_names = (f"rollout-{number}" for number in itertools.count(1))


class Contested(Cluster):
    """The agent's cluster. Somebody is quicker than it is: before its nth change, `meddling` has its nth step."""

    def __init__(self, kubeconfig: Path, *meddling: Callable[[], object]) -> None:
        super().__init__(kubeconfig)
        self._meddling = list(meddling)

    def patch(self, what: str, path: str, changes: dict[str, Any]) -> dict[str, Any]:
        if self._meddling:
            self._meddling.pop(0)()
        return super().patch(what, path, changes)


class Rollouts:
    """Carries rollouts of `web` out in the test's own process, where it can come between two requests."""

    def __init__(self, folder: Path, web: KubernetesAgent) -> None:
        self.web = web
        self._settings = AgentSettings(client_id="web-1", state_dir=folder, token=TOKEN)
        self._paths = ExecutionPaths(folder / "e1")
        self._paths.directory.mkdir()

    def carry_out(
        self, version: str, *meddling: Callable[[], object], **fields: Any
    ) -> tuple[DeployedKubernetes, str | None]:
        """What it came to, and why it failed; goes on with what an earlier one has left."""
        request = KubernetesDeployRequest.model_validate(self.web.request("e1", version, **fields))
        self._paths.request.write_text(request.model_dump_json())
        record = Record.of(request, None, "a-boot", datetime.now(UTC))
        way = KubernetesWay(self._settings, Contested(self.web.cluster.agent_kubeconfig, *meddling))
        ending = threading.Event()
        timer = threading.Timer(LONGEST_S, ending.set)
        timer.start()
        try:
            _, why = way.carry_out(
                record, self._paths, Signals(ending, threading.Event(), lambda: "timed_out")
            )
        finally:
            timer.cancel()
        return way.result_of(self._paths)["kubernetes"], why

    def kubectl(self, *arguments: str) -> None:
        """As somebody else."""
        self.web.cluster.kubectl(*arguments, f"--namespace={self.web.namespace}")

    def set_image(self, tag: str) -> None:
        """As somebody else; the annotations stay, `hoist.execution` too."""
        self.kubectl("set", "image", "deployment/web", f"app=shop:{tag}")


@pytest.fixture
def namespace(kubernetes: KubernetesCluster) -> str:
    return kubernetes.namespace(next(_names))


@pytest.fixture
def kubelet(kubernetes: KubernetesCluster, namespace: str) -> Iterator[Kubelet]:
    with Kubelet(kubernetes, namespace, bad="crashing", slow="starting") as kubelet:
        yield kubelet
        kubernetes.kubectl("delete", "deployments", "--all", f"--namespace={namespace}", "--wait=false")


@pytest.fixture
def web(
    tmp_path: Path, kubernetes: KubernetesCluster, namespace: str, kubelet: Kubelet
) -> Iterator[KubernetesAgent]:
    """An agent that is not started, with a Deployment of two pods that is complete."""
    agent = KubernetesAgent(tmp_path / "one", kubernetes, namespace)
    agent.create()
    wait_until(agent.is_complete)
    try:
        yield agent
    finally:
        agent.close()


@pytest.fixture
def rollouts(tmp_path: Path, web: KubernetesAgent) -> Rollouts:
    return Rollouts(tmp_path, web)


def test_what_somebody_changed_just_before_is_what_is_gone_back_to(rollouts, web):
    def meddle() -> None:
        rollouts.set_image("1.0.7")
        rollouts.kubectl("scale", "deployment/web", "--replicas=3")
        rollouts.kubectl("annotate", "deployment/web", "hoist.version=1.0.7")

    came_to, why = rollouts.carry_out("bad", meddle, config={"replicas": 1}, progress_deadline_s=2)
    assert "it is back at shop:1.0.7" in why
    assert (came_to.undone, came_to.previous_image) == (True, "shop:1.0.7")
    assert (web.image(), web.now()["spec"]["replicas"]) == ("shop:1.0.7", 3)
    assert web.marks() == {"hoist.version": "1.0.7"}


def test_agent_that_died_before_its_change_goes_back_to_what_was_there_when_it_went_on(rollouts, web):
    def die() -> None:
        raise Abandoned

    with pytest.raises(Abandoned):
        rollouts.carry_out("bad", die)
    rollouts.set_image("1.0.7")
    came_to, why = rollouts.carry_out("bad")
    assert (came_to.undone, came_to.previous_image) == (True, "shop:1.0.7"), why
    assert web.image() == "shop:1.0.7"


def test_deployment_that_was_paused_just_before_is_left_untouched(rollouts, web):
    came_to, why = rollouts.carry_out("1.1", lambda: web.change(paused=True))
    assert "is paused" in why
    assert "nothing was changed" in why
    assert (web.image(), came_to.undone) == ("shop:1.0", None)


def test_what_somebody_changed_just_before_the_undoing_is_left_as_it_is(rollouts, web):
    came_to, why = rollouts.carry_out("bad", lambda: None, lambda: rollouts.set_image("2.0"))
    assert "somebody else changed it meanwhile, and it is left as it is" in why
    assert (web.image(), came_to.undone) == ("shop:2.0", None)


def test_image_from_before_that_somebody_has_set_already_gets_the_rest_back(rollouts, web):
    came_to, why = rollouts.carry_out("bad", lambda: None, lambda: rollouts.set_image("1.0"))
    assert came_to.undone, why
    assert (web.image(), web.marks()) == ("shop:1.0", {})


def test_uninstall_notes_as_many_as_there_were_at_last(rollouts, web):
    scale = ("scale", "deployment/web", "--replicas=3")
    _, why = rollouts.carry_out("1.0", lambda: rollouts.kubectl(*scale), operation="uninstall")
    assert why is None
    assert web.marks()["hoist.replicas"] == "3"


def test_more_pods_than_are_looked_at_are_counted_by_the_cluster(rollouts, web, monkeypatch):
    monkeypatch.setattr(dock, "MOST_PODS", 1)
    came_to, why = rollouts.carry_out("1.1")
    assert (why, came_to.replicas, came_to.ready) == (None, 2, 2)


def test_rollout_whose_pods_the_agent_may_not_see_is_refused_before_anything_runs(web):
    web.start()
    _forbid_replica_sets(web)
    refused = web.post(DEPLOY, web.request("e1", "1.1"))
    assert (refused.status_code, refused.json()["part"]) == (403, "kubernetes")
    assert "cannot list replicasets of deployment web" in refused.json()["detail"]
    assert web.http.get("/v1/executions/e1").status_code == 404
    assert web.deploy("e2", "1.0", operation="uninstall")["state"] == "succeeded", "it needs none of them"


def test_rollout_whose_pods_can_not_be_seen_any_more_is_undone(web):
    web.change(progressDeadlineSeconds=600)
    web.start()
    web.begin("e1", "slow")
    wait_until(lambda: web.image() == "shop:slow")
    _forbid_replica_sets(web)
    assert web.post("/v1/executions/e1/cancel", {}).status_code == 202
    ended = web.end_of("e1")
    assert "it was cancelled; it is back at shop:1.0: 2 of 2 pods are available" in ended["error"]
    assert (ended["kubernetes"]["undone"], ended["kubernetes"]["ready"]) == (True, 2)
    assert "cannot list replicasets of deployment web" in ended["output_tail"]
    assert (web.image(), web.marks()) == ("shop:1.0", {})


def _forbid_replica_sets(web: KubernetesAgent) -> None:
    """The agent may see and change Deployments of the namespace, and nothing else there but pods."""
    kubectl, own = web.cluster.kubectl, f"--namespace={web.namespace}"
    kubectl("create", "role", "changer", own, "--verb=get,patch", "--resource=deployments.apps")
    kubectl("create", "rolebinding", "changer", own, "--role=changer", "--serviceaccount=hoist:hoist-agent")
    kubectl("delete", "rolebinding", "hoist-agent-deploy", own)
    wait_until(lambda: _may(web, "patch", "deployments") and not _may(web, "list", "replicasets"))


def _may(web: KubernetesAgent, verb: str, resource: str) -> bool:
    asked = {"namespace": web.namespace, "verb": verb, "group": "apps", "resource": resource}
    answer = web.cluster.create(
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        {"spec": {"user": AGENT, "resourceAttributes": asked}},
    )
    return bool(answer["status"]["allowed"])
