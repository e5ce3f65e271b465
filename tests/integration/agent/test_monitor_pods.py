"""A real agent reports the pods of a real cluster for its monitors: each selection once, by the interval, over its restart."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents import AgentProcess
from tests.kubelet import pod, status
from tests.kubernetes_cluster import KubernetesCluster
from tests.real_processes import wait_until
from tests.report_receiver import ReleaseApi, api

__all__ = ["api"]

_names = (f"monitored-{number}" for number in itertools.count(1))


@pytest.fixture
def namespace(kubernetes: KubernetesCluster) -> Iterator[str]:
    name = kubernetes.namespace(next(_names))
    yield name
    kubernetes.admin.delete(f"/api/v1/namespaces/{name}/pods", params={"gracePeriodSeconds": "0"})


@pytest.fixture
def agent(tmp_path: Path, kubernetes: KubernetesCluster, api: ReleaseApi) -> Iterator[AgentProcess]:
    kubeconfig = str(kubernetes.agent_kubeconfig)
    process = AgentProcess(tmp_path, HOIST_AGENT_API_URL=api.url, HOIST_AGENT_KUBECONFIG=kubeconfig)
    try:
        yield process.start()
    finally:
        process.close()


def _put(agent: AgentProcess, namespace: str, project: str = "shop", interval: int = 5, **fields):
    config = {"collect_interval": interval}
    body = {"version": "1.0", "release_id": "t", "process_config": config, **fields}
    answer = agent.http.put(f"/v1/monitors/{project}", json={"pods": {"namespace": namespace}, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def _run(kubernetes: KubernetesCluster, namespace: str, name: str, kind: str = "running") -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    kubernetes.create(path, pod(name))
    kubernetes.patch(f"{path}/{name}/status", {"status": status(kind)})


def test_pods_are_reported_at_once_by_the_interval_and_after_a_restart(agent, api, kubernetes, namespace):
    _run(kubernetes, namespace, "shop-1")
    assert _put(agent, namespace)["pods"] == {"namespace": namespace, "label_selector": None}
    wait_until(lambda: len(api.pod_reports) >= 2)
    assert {one["namespace"] for one in api.pod_reports} == {namespace}
    assert [one["name"] for one in api.pod_reports[-1]["pods"]] == ["shop-1"]
    assert api.reports == [], "it has no processes"
    _run(kubernetes, namespace, "shop-2", "crashing")
    wait_until(
        lambda: [one.get("reason") for one in api.pod_reports[-1]["pods"]] == [None, "CrashLoopBackOff"]
    )
    shown = agent.http.get("/v1/monitors/shop").json()
    assert shown["last_error"] is None
    assert shown["last_report_at"]
    agent.kill()
    agent.start()
    had = len(api.pod_reports)
    wait_until(lambda: len(api.pod_reports) > had)


def test_projects_with_one_selection_share_its_reports(agent, api, kubernetes, namespace):
    _put(agent, namespace, interval=3600)
    _put(agent, namespace, "shop-api", interval=3600)
    wait_until(lambda: api.pod_reports)
    time.sleep(3)
    had = len(api.pod_reports)
    assert had <= 2
    time.sleep(2)
    assert len(api.pod_reports) == had
    _put(agent, namespace, "shop-api", interval=5)
    wait_until(lambda: len(api.pod_reports) >= had + 2)
    for project in ("shop-api", "shop"):
        assert agent.http.delete(f"/v1/monitors/{project}").status_code == 204
    time.sleep(0.5)
    had = len(api.pod_reports)
    time.sleep(6)
    assert len(api.pod_reports) == had


def test_cluster_that_is_not_there_is_no_report_and_is_said(tmp_path, api):
    process = AgentProcess(tmp_path, HOIST_AGENT_API_URL=api.url)
    try:
        agent = process.start()
        _put(agent, "default")
        wait_until(lambda: agent.http.get("/v1/monitors/shop").json()["last_error"])
        assert "cannot ask a cluster" in agent.http.get("/v1/monitors/shop").json()["last_error"]
        assert api.pod_reports == []
    finally:
        process.close()
