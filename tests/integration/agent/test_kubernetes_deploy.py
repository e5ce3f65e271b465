"""kubernetes.deploy of a real agent, on a real cluster whose kubelet the test plays."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.agent.kubernetes_agent import DEPLOY, KubernetesAgent
from tests.kubelet import Kubelet
from tests.kubernetes_cluster import AGENT, KubernetesCluster
from tests.real_processes import wait_until
from tests.tcp_proxy import TcpProxy

_names = (f"deploy-{number}" for number in itertools.count(1))


@pytest.fixture
def namespace(kubernetes: KubernetesCluster) -> str:
    return kubernetes.namespace(next(_names))


@pytest.fixture
def kubelet(kubernetes: KubernetesCluster, namespace: str) -> Iterator[Kubelet]:
    with Kubelet(kubernetes, namespace) as kubelet:
        yield kubelet
        kubernetes.kubectl("delete", "deployments", "--all", f"--namespace={namespace}", "--wait=false")


@pytest.fixture
def agent(
    tmp_path: Path, kubernetes: KubernetesCluster, namespace: str, kubelet: Kubelet
) -> Iterator[KubernetesAgent]:
    process = KubernetesAgent(tmp_path / "one", kubernetes, namespace)
    try:
        yield process.start()
    finally:
        process.close()


@pytest.fixture
def web(agent: KubernetesAgent) -> KubernetesAgent:
    """The agent, with a Deployment of two pods that is complete."""
    agent.create()
    wait_until(agent.is_complete)
    return agent


def test_rollout_is_complete_when_its_pods_are_ready(web):
    ended = web.deploy("e1", "1.1")
    assert (ended["state"], ended["error"], ended["exit_code"]) == ("succeeded", None, 0), ended
    assert ended["kubernetes"] == {
        "namespace": web.namespace,
        "deployment": "web",
        "container": "app",
        "revision": 2,
        "image": "shop:1.1",
        "previous_image": "shop:1.0",
        "replicas": 2,
        "ready": 2,
        "undone": None,
    }
    assert web.is_complete()
    wait_until(lambda: sorted(web.pods().values()) == ["shop:1.1"] * 2)
    assert web.marks() == {
        "hoist.project": "shop",
        "hoist.version": "1.1",
        "hoist.client": "web-1",
        "hoist.execution": "e1",
    }
    for said in ("has shop:1.0 now (revision 1)", "setting shop:1.1", "2 pods of revision 2 are ready"):
        assert said in ended["output_tail"]
    assert web.get("/v1/executions/e1/log")["complete"]
    record = web.post("/v1/commands/release.check", {"project_id": "shop", "work_dir": "/nowhere"}).json()
    assert (record["installed"], record["version"]) == (True, "1.1")


def test_same_execution_again_is_the_same_and_another_request_is_refused(web):
    first = web.deploy("e1", "1.1")
    again = web.post(DEPLOY, web.request("e1", "1.1"))
    assert (again.status_code, again.json()) == (200, first)
    assert web.post(DEPLOY, web.request("e1", "1.2")).status_code == 409
    assert web.image() == "shop:1.1"


def test_same_image_is_no_new_rollout(web):
    web.deploy("e1", "1.1")
    before = web.pods()
    ended = web.deploy("e2", "1.1")
    assert (ended["state"], ended["kubernetes"]["revision"]) == ("succeeded", 2)
    assert web.pods().items() <= before.items()


def test_one_of_many_containers_gets_the_image_and_the_others_stay(agent, kubelet):
    containers = [{"name": "app", "image": "shop:1.0"}, {"name": "proxy", "image": "proxy:7"}]
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    agent.create(1, template=template)
    ended = agent.deploy("e1", "1.1")
    assert ended["state"] == "failed"
    assert "2 containers (app, proxy): say which" in ended["error"]
    ended = agent.deploy("e2", "1.1", config={"container": "sidecar"})
    assert "no container sidecar, only app, proxy" in ended["error"]
    assert ended["kubernetes"]["undone"] is None
    ended = agent.deploy("e3", "1.1", config={"container": "app"})
    assert ended["state"] == "succeeded", ended
    found = agent.now()["spec"]["template"]["spec"]["containers"]
    assert [one["image"] for one in found] == ["shop:1.1", "proxy:7"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("crashing", "CrashLoopBackOff, app ended with Error, exit code 3, 4 restarts"),
        ("out_of_memory", "OOMKilled, exit code 137, 2 restarts"),
        ("image_missing", "ImagePullBackOff"),
    ],
)
def test_failed_rollout_is_undone_and_says_what_was_wrong(web, kubelet, kind, said):
    kubelet.images["bad"] = kind
    ended = web.deploy("e1", "bad")
    assert (ended["state"], ended["exit_code"]) == ("failed", 1)
    assert "has timed out progressing" in ended["error"]
    assert said in ended["error"]
    assert said in ended["output_tail"]
    assert "it is back at shop:1.0: 2 of 2 pods are available" in ended["error"]
    kubernetes = ended["kubernetes"]
    assert (kubernetes["image"], kubernetes["previous_image"]) == ("shop:bad", "shop:1.0")
    assert (kubernetes["undone"], kubernetes["ready"], kubernetes["revision"]) == (True, 2, 3)
    assert (web.image(), web.marks()) == ("shop:1.0", {})
    wait_until(lambda: sorted(web.pods().values()) == ["shop:1.0"] * 2)


def test_failed_rollout_of_one_pod_is_undone_in_spite_of_the_failure_that_still_stands(agent, kubelet):
    agent.create(1)
    wait_until(agent.is_complete)
    agent.deploy("e1", "1.1")
    kubelet.images["bad"] = "crashing"
    ended = agent.deploy("e2", "bad")
    assert (ended["state"], ended["kubernetes"]["undone"]) == ("failed", True), ended["error"]
    assert agent.marks()["hoist.execution"] == "e1"
    assert agent.marks()["hoist.version"] == "1.1"


def test_rollout_over_one_that_failed_is_not_taken_for_failed(agent, kubelet):
    kubelet.images["bad"] = "crashing"
    agent.create(1)
    wait_until(agent.is_complete)
    agent.change(template={"spec": {"containers": [{"name": "app", "image": "shop:bad"}]}})

    def has_failed() -> bool:
        conditions = agent.now()["status"].get("conditions", [])
        return any(one["type"] == "Progressing" and one["status"] == "False" for one in conditions)

    wait_until(has_failed)
    ended = agent.deploy("e1", "1.0")  # back to a revision that is there already
    assert ended["state"] == "succeeded", ended["error"]


def test_undoing_that_fails_too_is_said(agent, kubelet):
    agent.create(1)
    wait_until(agent.is_complete)
    kubelet.images.update({"bad": "crashing"})
    agent.begin("e1", "bad")
    wait_until(lambda: agent.image() == "shop:bad")
    kubelet.images["1.0"] = "crashing"  # the previous one does not run any more, either
    ended = agent.end_of("e1")
    assert (ended["state"], ended["kubernetes"]["undone"]) == ("failed", False)
    assert "shop:1.0 was set again, but that rollout isn't complete either" in ended["error"]


def test_progress_deadline_is_set_and_put_back(web, kubelet):
    kubelet.images["bad"] = "crashing"
    ended = web.deploy("e1", "bad", progress_deadline_s=2)
    assert ended["state"] == "failed"
    assert web.now()["spec"]["progressDeadlineSeconds"] == 4
    web.deploy("e2", "1.1", progress_deadline_s=7)
    assert web.now()["spec"]["progressDeadlineSeconds"] == 7


def test_timeout_is_undone(agent, kubelet):
    agent.create(2, progressDeadlineSeconds=600)
    wait_until(agent.is_complete)
    kubelet.images["slow"] = "starting"
    ended = agent.deploy("e1", "slow", timeout_s=3)
    assert ended["state"] == "timed_out"
    assert "it was not done after 3 s" in ended["error"]
    assert (ended["kubernetes"]["undone"], agent.image()) == (True, "shop:1.0")


def test_cancel_is_undone(agent, kubelet):
    agent.create(2, progressDeadlineSeconds=600)
    wait_until(agent.is_complete)
    kubelet.images["slow"] = "starting"
    agent.begin("e1", "slow")
    wait_until(lambda: "slow" in " ".join(agent.pods().values()))
    assert agent.get("/v1/executions/e1")["state"] == "running"
    assert agent.post(DEPLOY, agent.request("e2", "1.1")).status_code == 409
    assert agent.post("/v1/executions/e1/cancel", {}).status_code == 202
    ended = agent.end_of("e1")
    assert ended["state"] == "cancelled"
    assert "it was cancelled; web-" in ended["error"]  # what its pod was like
    assert "it is back at shop:1.0" in ended["error"]
    assert ended["kubernetes"]["undone"] is True
    assert agent.deploy("e2", "1.1")["state"] == "succeeded"


@pytest.mark.parametrize("marks", [{"hoist.execution": "another"}, {}], ids=["another agent", "a person"])
def test_what_somebody_else_changed_meanwhile_is_left_as_it_is(agent, kubelet, marks):
    agent.create(2, progressDeadlineSeconds=600)
    wait_until(agent.is_complete)
    kubelet.images["slow"] = "starting"
    agent.begin("e1", "slow")
    wait_until(lambda: agent.image() == "shop:slow")
    changes = {
        "metadata": {"annotations": marks},
        "spec": {"template": {"spec": {"containers": [{"name": "app", "image": "shop:2.0"}]}}},
    }
    agent.cluster.patch(f"{agent.path}/web", changes)
    ended = agent.end_of("e1")
    assert ended["state"] == "failed"
    assert "somebody else changed deployment web" in ended["error"]
    assert "left as it is" in ended["error"]
    assert (agent.image(), ended["kubernetes"]["undone"]) == ("shop:2.0", None)


def test_uninstall_scales_to_zero_and_an_install_brings_back_as_many(web):
    web.deploy("e1", "1.1")
    ended = web.deploy("e2", "1.1", operation="uninstall", config={"image": None})
    assert (ended["state"], ended["error"]) == ("succeeded", None)
    assert (ended["kubernetes"]["replicas"], ended["kubernetes"]["ready"]) == (0, 0)
    assert web.pods() == {}
    assert web.now()["spec"]["replicas"] == 0
    assert web.marks()["hoist.replicas"] == "2"
    assert "hoist.version" not in web.marks()
    ended = web.deploy("e3", "1.2", operation="install")
    assert (ended["state"], ended["kubernetes"]["ready"]) == ("succeeded", 2), ended
    assert "hoist.replicas" not in web.marks()


def test_install_that_fails_goes_back_to_nothing(web, kubelet):
    web.deploy("e1", "1.0", operation="uninstall")
    kubelet.images["bad"] = "crashing"
    ended = web.deploy("e2", "bad", operation="install", config={"replicas": 1})
    assert (ended["state"], ended["kubernetes"]["undone"]) == ("failed", True), ended["error"]
    assert (web.now()["spec"]["replicas"], web.marks()["hoist.replicas"]) == (0, "2")
    wait_until(lambda: web.pods() == {})


def test_deployment_that_cannot_roll_out_is_left_untouched(agent, kubelet):
    ended = agent.deploy("e1", "1.1")
    assert ended["state"] == "failed"
    assert f"there is no deployment web in namespace {agent.namespace}" in ended["error"]
    assert agent.deploy("e2", "1.1", operation="uninstall")["state"] == "succeeded"
    agent.create(0)
    ended = agent.deploy("e3", "1.1")
    assert "scaled to 0, and nothing says to how many" in ended["error"]
    assert "nothing was changed" in ended["error"]
    assert agent.deploy("e4", "1.1", config={"replicas": 1})["state"] == "succeeded"
    agent.change(paused=True)
    ended = agent.deploy("e5", "1.2")
    assert "is paused" in ended["error"]
    assert agent.image() == "shop:1.1"


def test_rbac_that_forbids_is_refused_before_anything_runs(kubernetes, agent, tmp_path):
    elsewhere = next(_names)
    kubernetes.create("/api/v1/namespaces", {"metadata": {"name": elsewhere}})  # without a binding
    refused = agent.post(DEPLOY, agent.request("e1", "1.1", config={"namespace": elsewhere}))
    assert (refused.status_code, refused.json()["part"]) == (403, "kubernetes")
    assert (
        f"cannot get deployment web in namespace {elsewhere}: the cluster's RBAC" in refused.json()["detail"]
    )
    assert agent.http.get("/v1/executions/e1").status_code == 404
    assert agent.post(DEPLOY, agent.request("e1", "1.1", client_id="web-2")).status_code == 409


def test_change_that_rbac_forbids_fails_and_changes_nothing(kubernetes, agent, kubelet):
    agent.create(1)
    kubernetes.kubectl(
        *("create", "role", "reader", f"--namespace={agent.namespace}"),
        *("--verb=get,list", "--resource=deployments.apps,replicasets.apps"),
    )
    kubernetes.kubectl("delete", "rolebinding", "hoist-agent-deploy", f"--namespace={agent.namespace}")
    kubernetes.kubectl(
        *("create", "rolebinding", "reader", f"--namespace={agent.namespace}"),
        *("--role=reader", "--serviceaccount=hoist:hoist-agent"),
    )
    wait_until(lambda: agent.post(DEPLOY, agent.request("e1", "1.1")).status_code == 202)
    ended = agent.end_of("e1")
    assert ended["state"] == "failed"
    for said in ("cannot patch deployment web", "RBAC forbids it", "nothing was changed"):
        assert said in ended["error"]
    assert (agent.image(), ended["kubernetes"]["undone"]) == ("shop:1.0", None)


@pytest.mark.parametrize("phase", ["begin", "change", "wait"])
def test_agent_killed_in_the_middle_goes_on(web, kubelet, phase):
    kubelet.images["1.1"] = "starting"
    web.begin("e1", "1.1")
    kill_at(web, "e1", phase)
    kubelet.images["1.1"] = "running"
    ended = web.end_of("e1")
    assert (ended["state"], ended["error"]) == ("succeeded", None), ended
    assert (ended["kubernetes"]["revision"], ended["kubernetes"]["previous_image"]) == (2, "shop:1.0")
    assert web.is_complete()


@pytest.mark.parametrize("phase", ["wait", "revert"])
def test_agent_killed_in_the_middle_of_a_failure_undoes_it(web, kubelet, phase):
    kubelet.images["bad"] = "crashing"
    web.begin("e1", "bad")
    kill_at(web, "e1", phase)
    ended = web.end_of("e1")
    assert (ended["state"], ended["kubernetes"]["undone"]) == ("failed", True), ended
    assert (web.image(), web.marks()) == ("shop:1.0", {})


def test_agent_killed_ten_times_in_a_row_rolls_out_once(web):
    web.begin("e1", "1.1")
    for _ in range(10):
        web.kill()
        web.start()
    ended = web.end_of("e1")
    assert (ended["state"], ended["kubernetes"]["revision"]) == ("succeeded", 2), ended


def test_stopped_agent_leaves_the_rollout_to_its_next_start(web, kubelet):
    kubelet.images["1.1"] = "starting"
    web.begin("e1", "1.1")
    wait_until(lambda: web.image() == "shop:1.1")
    assert web.stop() == 0
    assert web.image() == "shop:1.1"
    kubelet.images["1.1"] = "running"
    web.start()
    assert web.end_of("e1")["state"] == "succeeded"


def test_uninstall_survives_a_kill(web, kubelet):
    web.begin("e1", "1.0", operation="uninstall")
    kill_at(web, "e1", "scale_down")
    ended = web.end_of("e1")
    assert (ended["state"], web.pods()) == ("succeeded", {}), ended
    assert web.marks()["hoist.replicas"] == "2"


def test_cluster_that_is_cut_off_is_waited_for(tmp_path, kubernetes, namespace, kubelet):
    proxy = TcpProxy(kubernetes.port)
    kubeconfig = str(kubernetes.kubeconfig(AGENT, proxy.port))
    agent = KubernetesAgent(tmp_path / "two", kubernetes, namespace, HOIST_AGENT_KUBECONFIG=kubeconfig)
    try:
        agent.start()
        agent.create(1, progressDeadlineSeconds=60)
        kubelet.images["1.1"] = "starting"
        agent.begin("e1", "1.1")
        wait_until(lambda: agent.image() == "shop:1.1")
        proxy.open = False
        proxy.cut()
        assert agent.post(DEPLOY, agent.request("e2", "1.1", project_id="other")).status_code == 503
        wait_until(lambda: "cannot reach the cluster" in agent.get("/v1/executions/e1")["output_tail"])
        kubelet.images["1.1"] = "running"
        proxy.open = True
        assert agent.end_of("e1")["state"] == "succeeded"
    finally:
        agent.close()
        proxy.close()


def kill_at(agent: KubernetesAgent, execution_id: str, phase: str) -> None:
    """SIGKILL the agent once the rollout has come to `phase`, or is further; start it again."""
    file = agent.state_dir / "executions" / execution_id / "rollout.json"
    order = ("begin", "change", "wait", "scale_down", "revert", "finish")

    def reached() -> bool:
        if phase == "begin":
            return file.parent.exists()
        try:
            return order.index(json.loads(file.read_bytes())["phase"]) >= order.index(phase)
        except FileNotFoundError:
            return False

    wait_until(reached)
    agent.kill()
    agent.start()
