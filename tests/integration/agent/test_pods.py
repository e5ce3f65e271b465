"""pod.collect and pod.report of a real agent, on a real cluster whose kubelet the test plays."""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.pods.cluster import Cluster
from agent.pods.errors import ClusterRefused, ClusterUnavailable, NoCluster
from agent.pods.listing import Selection, list_pods
from agent.pods.watching import PodWatch
from tests.agents import ROOT, AgentProcess
from tests.kubelet import AT, pod, status
from tests.kubernetes_cluster import AGENT, KubernetesCluster
from tests.real_processes import wait_until
from tests.report_receiver import ReleaseApi, api
from tests.tcp_proxy import TcpProxy

__all__ = ["api"]

COLLECT, REPORT = "/v1/commands/pod.collect", "/v1/commands/pod.report"
_names = (f"pods-{number}" for number in itertools.count(1))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., AgentProcess]]:
    """Starts an agent with these settings (HOIST_AGENT_…)."""
    started: list[AgentProcess] = []

    def begin(**settings: Any) -> AgentProcess:
        names = {f"HOIST_AGENT_{name}": str(value) for name, value in settings.items()}
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(AgentProcess(folder, **names))
        return started[-1].start()

    yield begin
    for agent in started:
        agent.close()


@pytest.fixture
def namespace(kubernetes: KubernetesCluster) -> Iterator[str]:
    name = kubernetes.namespace(next(_names))
    yield name
    kubernetes.admin.delete(f"/api/v1/namespaces/{name}/pods", params={"gracePeriodSeconds": "0"})


@pytest.fixture
def proxy(kubernetes: KubernetesCluster) -> Iterator[TcpProxy]:
    proxy = TcpProxy(kubernetes.port)
    yield proxy
    proxy.close()


def add(
    cluster: KubernetesCluster, namespace: str, name: str, kind: str | None = None, **labels: str
) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    cluster.create(path, pod(name, **labels))
    if kind is not None:
        cluster.patch(f"{path}/{name}/status", {"status": status(kind)})


def delete(cluster: KubernetesCluster, namespace: str, name: str) -> None:
    answer = cluster.admin.delete(
        f"/api/v1/namespaces/{namespace}/pods/{name}", params={"gracePeriodSeconds": "0"}
    )
    assert answer.status_code == 200, answer.text


def collect(agent: AgentProcess, **selection: str) -> dict[str, Any]:
    answer = agent.post(COLLECT, selection)
    assert answer.status_code == 200, answer.text
    return answer.json()


def names(watch: PodWatch) -> set[str] | None:
    found = watch.pods()
    return None if found is None else {one.name for one in found}


def test_pods_are_collected_with_what_became_of_their_containers(kubernetes, namespace, start):
    agent = start(KUBECONFIG=kubernetes.agent_kubeconfig)
    kinds = ("running", "crashing", "out_of_memory", "image_missing", "done", "failed")
    for kind in kinds:
        add(kubernetes, namespace, kind.replace("_", "-"), kind, app="shop")
    add(kubernetes, namespace, "waiting")
    kubernetes.patch(f"/api/v1/namespaces/{namespace}/pods/failed/status", {"status": {"reason": "Evicted"}})
    collected = collect(agent, namespace=namespace)
    assert collected["kubernetes"] == "v1.20.2"
    assert not collected["truncated"]
    found = {one["name"]: one for one in collected["pods"]}
    assert list(found) == sorted(found)
    assert {name: (one["phase"], one["reason"]) for name, one in found.items()} == {
        "running": ("Running", None),
        "crashing": ("Running", "CrashLoopBackOff"),
        "out-of-memory": ("Running", "OOMKilled"),
        "image-missing": ("Pending", "ImagePullBackOff"),
        "done": ("Succeeded", "Completed"),
        "failed": ("Failed", "Error"),
        "waiting": ("Pending", None),
    }
    assert [name for name, one in found.items() if one["ready"]] == ["running"]
    crashing = found["crashing"]["containers"][0]
    assert crashing == {
        "name": "app",
        "image": "shop:1.0",
        "ready": False,
        "restart_count": 4,
        "state": "waiting",
        "started_at": None,
        "reason": "CrashLoopBackOff",
        "exit_code": 3,
        "last_reason": "Error",
    }
    assert found["out-of-memory"]["containers"][0]["exit_code"] == 137
    assert found["crashing"]["restart_count"] == 4
    assert found["waiting"]["containers"][0]["state"] == "waiting"
    running = found["running"]
    assert (running["start_time"], running["host_ip"], running["pod_ip"]) == (AT, "127.0.0.1", "10.1.2.3")
    assert (running["namespace"], running["labels"]) == (namespace, {"app": "shop"})


def test_namespace_and_labels_select(kubernetes, namespace, start):
    agent = start(KUBECONFIG=kubernetes.agent_kubeconfig)
    other = kubernetes.namespace(next(_names))
    add(kubernetes, namespace, "web", app="shop", tier="web")
    add(kubernetes, namespace, "db", app="shop", tier="db")
    add(kubernetes, other, "web", app="shop", tier="web")

    def selected(**selection: str) -> set[tuple[str, str]]:
        return {(one["namespace"], one["name"]) for one in collect(agent, **selection)["pods"]}

    assert selected(namespace=namespace) == {(namespace, "web"), (namespace, "db")}
    assert selected(namespace=namespace, label_selector="tier in (db, cache)") == {(namespace, "db")}
    everywhere = selected(label_selector="app=shop,tier=web")
    assert everywhere >= {(namespace, "web"), (other, "web")}
    assert (namespace, "db") not in everywhere
    assert selected(namespace="no-such-namespace") == set()
    refused = agent.post(COLLECT, {"label_selector": "tier in web"})
    assert refused.status_code == 400
    assert "list pods in all namespaces" in refused.json()["detail"]
    kubernetes.admin.delete(f"/api/v1/namespaces/{other}/pods", params={"gracePeriodSeconds": "0"})


def test_list_of_1200_pods_comes_in_pages_and_survives_that_one_expires(kubernetes, namespace):
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: add(kubernetes, namespace, f"web-{number}"), range(1200)))
    cluster = Cluster(kubernetes.agent_kubeconfig)
    asked: list[str] = []

    class Forgetful(Cluster):
        """Has the cluster forget the list's moment after its first page, once."""

        def get(self, what: str, path: str, query: Any = (), read_timeout_s: float = 10) -> dict[str, Any]:
            if len(asked) == 1:
                add(kubernetes, namespace, "newer")
                kubernetes.forget_history()
            asked.append(dict(query).get("continue", ""))
            return cluster.get(what, path, query, read_timeout_s)

    listed = list_pods(Forgetful(kubernetes.agent_kubeconfig), Selection(namespace))
    assert len(asked) == 5  # one, another that is 410, and three anew
    assert [bool(token) for token in asked] == [False, True, False, True, True]
    assert len({one.uid for one in listed.pods}) == 1201
    assert not listed.truncated
    some = list_pods(cluster, Selection(namespace), most=700)
    assert (len(some.pods), some.truncated) == (700, True)


def test_watch_is_in_step(kubernetes, namespace):
    add(kubernetes, namespace, "first", "running")
    watch = PodWatch(Cluster(kubernetes.agent_kubeconfig), Selection(namespace)).start()
    try:
        wait_until(lambda: names(watch) == {"first"})
        add(kubernetes, namespace, "second", "crashing")
        wait_until(lambda: names(watch) == {"first", "second"})
        wait_until(lambda: "CrashLoopBackOff" in {one.reason for one in watch.pods() or ()})
        delete(kubernetes, namespace, "first")
        wait_until(lambda: names(watch) == {"second"})
        assert watch.lists == 1
    finally:
        watch.stop()
    wait_until(lambda: watch.pods() is None)


def test_watch_that_is_cut_goes_on_from_where_it_was(kubernetes, namespace, proxy):
    add(kubernetes, namespace, "first")
    watch = PodWatch(Cluster(kubernetes.kubeconfig(AGENT, proxy.port)), Selection(namespace)).start()
    try:
        wait_until(lambda: names(watch) == {"first"})
        proxy.open = False
        proxy.cut()
        wait_until(lambda: watch.pods() is None)  # it never says what may be untrue
        add(kubernetes, namespace, "second")
        delete(kubernetes, namespace, "first")
        proxy.open = True
        wait_until(lambda: names(watch) == {"second"})
        assert watch.lists == 1
    finally:
        watch.stop()


def test_watch_whose_history_is_gone_begins_anew(kubernetes, namespace, proxy):
    add(kubernetes, namespace, "first")
    watch = PodWatch(Cluster(kubernetes.kubeconfig(AGENT, proxy.port)), Selection(namespace)).start()
    try:
        wait_until(lambda: names(watch) == {"first"})
        proxy.open = False
        proxy.cut()
        wait_until(lambda: watch.pods() is None)
        add(kubernetes, namespace, "second")
        delete(kubernetes, namespace, "first")
        # A server that was started anew knows no event from before: what it answers is 410 Gone.
        kubernetes.stop_api()
        kubernetes.start_api()
        proxy.open = True
        wait_until(lambda: names(watch) == {"second"})
        assert watch.lists == 2
        add(kubernetes, namespace, "third")
        wait_until(lambda: names(watch) == {"second", "third"})
    finally:
        watch.stop()


def test_watch_that_is_silent_for_too_long_is_not_believed(kubernetes, namespace):
    watch = PodWatch(Cluster(kubernetes.agent_kubeconfig), Selection(namespace), silence_s=1.5).start()
    try:
        wait_until(lambda: watch.pods() is not None)
        wait_until(lambda: watch.pods() is None)
        wait_until(lambda: watch.pods() is not None)
        assert watch.lists == 1
    finally:
        watch.stop()


def test_watch_is_bounded_and_ends_when_nobody_asks(kubernetes, namespace):
    for number in range(3):
        add(kubernetes, namespace, f"web-{number}")
    cluster = Cluster(kubernetes.agent_kubeconfig)
    too_many = PodWatch(cluster, Selection(namespace), most=2).start()
    wait_until(lambda: too_many.ended)
    assert too_many.pods() is None
    idle = PodWatch(cluster, Selection(namespace), idle_s=1).start()
    wait_until(lambda: idle.lists)
    time_passes = itertools.count(10)
    wait_until(lambda: (add(kubernetes, namespace, f"web-{next(time_passes)}"), idle.ended)[1])


def test_what_is_asked_for_again_is_watched(kubernetes, namespace, start):
    agent = start(KUBECONFIG=kubernetes.agent_kubeconfig)
    for _ in range(3):
        collect(agent, namespace=namespace)
    add(kubernetes, namespace, "web", "running")
    wait_until(lambda: [one["ready"] for one in collect(agent, namespace=namespace)["pods"]] == [True])
    delete(kubernetes, namespace, "web")
    wait_until(lambda: not collect(agent, namespace=namespace)["pods"])
    threads = Path(f"/proc/{agent.process.pid}/task").glob("*/comm")
    assert [one.read_text() for one in threads].count("pod-watch\n") <= 1


def test_report_is_sent_and_waits_in_the_spool_while_nobody_takes_it(
    kubernetes, namespace, start, api: ReleaseApi
):
    agent = start(KUBECONFIG=kubernetes.agent_kubeconfig, API_URL=api.url)
    add(kubernetes, namespace, "web", "crashing", app="shop")
    answer = agent.post(REPORT, {"namespace": namespace, "label_selector": "app=shop"})
    assert answer.status_code == 200, answer.text
    reported = answer.json()
    assert (reported["delivered"], reported["error"]) == (True, None)
    report = api.pod_reports[0]
    assert (report["client_id"], report["report_id"]) == ("web-1", reported["report_id"])
    assert (report["namespace"], report["label_selector"]) == (namespace, "app=shop")
    assert [(one["name"], one["reason"]) for one in report["pods"]] == [("web", "CrashLoopBackOff")]
    api.stop()
    waiting = agent.post(REPORT, {"namespace": namespace}).json()
    assert not waiting["delivered"]
    api.start()
    wait_until(lambda: len(api.pod_reports) == 2)
    assert api.pod_reports[1]["report_id"] == waiting["report_id"]


def test_rbac_that_forbids_is_said(kubernetes, namespace, start):
    agent = start(KUBECONFIG=kubernetes.nobody_kubeconfig)
    answer = agent.post(COLLECT, {"namespace": namespace})
    assert (answer.status_code, answer.json()["part"]) == (403, "kubernetes")
    for word in ("list", "pods", f"in namespace {namespace}", "RBAC forbids", '"nobody"'):
        assert word in answer.json()["detail"]
    assert agent.get("/v1/info")["kubernetes"] == "v1.20.2"


def test_no_cluster_is_said_and_costs_nothing(start):
    agent = start()
    answer = agent.post(COLLECT, {})
    assert answer.status_code == 409
    assert "HOIST_AGENT_KUBECONFIG" in answer.json()["detail"]
    assert agent.get("/v1/info")["kubernetes"] is None
    maps = Path(f"/proc/{agent.process.pid}/status").read_text()
    resident_kb = int(maps.split("VmRSS:")[1].split()[0])
    assert resident_kb < 55 * 1024


def test_cluster_that_is_down_is_said_and_comes_back(kubernetes, namespace, start, proxy):
    agent = start(KUBECONFIG=kubernetes.kubeconfig(AGENT, proxy.port))
    assert collect(agent, namespace=namespace)["pods"] == []
    proxy.open = False
    proxy.cut()
    answer = agent.post(COLLECT, {"namespace": namespace})
    assert (answer.status_code, answer.json()["part"]) == (503, "kubernetes")
    proxy.open = True
    wait_until(lambda: agent.post(COLLECT, {"namespace": namespace}).status_code == 200)


def test_cluster_that_is_silent_holds_up_neither_the_agent_nor_its_end(kubernetes, namespace, start, proxy):
    agent = start(KUBECONFIG=kubernetes.kubeconfig(AGENT, proxy.port))
    collect(agent, namespace=namespace)
    proxy.silent = True
    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(agent.post, COLLECT, {"namespace": namespace}) for _ in range(2)]
        began = time.monotonic()
        assert agent.get("/v1/info")["kubernetes"] == "v1.20.2"  # as it was a moment ago
        assert time.monotonic() - began < 5
        answers = [one.result() for one in asked]
    assert [one.status_code for one in answers] == [503, 503]
    assert "does not answer in time" in answers[0].json()["detail"]
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(agent.post, COLLECT, {"namespace": namespace})
        time.sleep(0.5)
        began = time.monotonic()
        agent.stop()
        assert time.monotonic() - began < 10
        with suppress(httpx.HTTPError):
            waiting.result()


def test_role_of_the_agent_is_all_that_it_has(kubernetes, namespace):
    other = next(_names)
    kubernetes.create("/api/v1/namespaces", {"metadata": {"name": other}})

    def may(verb: str, resource: str, place: str) -> bool:
        where = "--all-namespaces" if place == "*" else f"--namespace={place}"
        try:
            said = kubernetes.kubectl("auth", "can-i", verb, resource, where, f"--as={AGENT}")
        except AssertionError:  # kubectl ends with 1
            return False
        return said.strip() == "yes"

    assert all(may(verb, "pods", "*") for verb in ("list", "watch"))
    assert all(may(verb, "deployments.apps", namespace) for verb in ("get", "patch"))
    assert may("list", "replicasets.apps", namespace)
    for verb, resource, place in (
        *(("get", "pods", namespace), ("create", "pods", namespace), ("delete", "pods", namespace)),
        *(("create", "deployments.apps", namespace), ("delete", "deployments.apps", namespace)),
        *(
            ("patch", "deployments.apps", other),
            ("list", "secrets", namespace),
            ("get", "pods/log", namespace),
        ),
    ):
        assert not may(verb, resource, place), (verb, resource, place)


def test_agent_in_a_pod_needs_no_kubeconfig(kubernetes, namespace):
    if os.geteuid() != 0:
        reason = "a pod's own files can be put in place only by root: run as root"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    add(kubernetes, namespace, "web")
    token = kubernetes.agent_kubeconfig.read_text().split("token: ")[1].split("}")[0]
    place = "/run/secrets/kubernetes.io/serviceaccount"  # /var/run is a link to /run
    script = (
        "mount -t tmpfs none /run && "
        f"mkdir -p {place} && printf %s {token} > {place}/token && cp {kubernetes.folder}/tls.crt {place}/ca.crt && "
        f"exec {sys.executable} -c 'import sys\n"
        "from agent.pods.cluster import Cluster\n"
        "from agent.pods.listing import Selection, list_pods\n"
        "print([pod.name for pod in list_pods(Cluster(), Selection(sys.argv[1])).pods])' "
        f"{namespace}"
    )
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-c", script],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(kubernetes.port),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "['web']\n"), done.stderr


def test_kubeconfig_that_cannot_be_used_is_said_without_its_secrets(tmp_path: Path, kubernetes):
    missing = Cluster(tmp_path / "nowhere")
    with pytest.raises(NoCluster, match="nowhere"):
        missing.get("list pods", "/api/v1/pods")
    broken = tmp_path / "broken"
    broken.write_text("users: [{user: {token: secret-token}\n")
    with pytest.raises(NoCluster) as refused:
        Cluster(broken).get("list pods", "/api/v1/pods")
    assert "secret-token" not in str(refused.value)
    stranger = tmp_path / "stranger"
    text = kubernetes.nobody_kubeconfig.read_text()
    token = text.split("token: ")[1].split("}")[0]
    stranger.write_text(text.replace(token, "wrong-token"))
    cluster = Cluster(stranger)
    with pytest.raises(ClusterRefused, match="does not accept the agent's credentials"):
        cluster.get("list pods", "/api/v1/pods")
    stranger.write_text(kubernetes.agent_kubeconfig.read_text())  # exchanged: read anew
    assert "items" in cluster.get("list pods", "/api/v1/pods")
    other = tmp_path / "other"
    lines = kubernetes.agent_kubeconfig.read_text().replace(f"{kubernetes.folder}/tls.crt", "/dev/null")
    other.write_text(lines)
    with pytest.raises((ClusterUnavailable, NoCluster)):
        Cluster(other).get("list pods", "/api/v1/pods")
