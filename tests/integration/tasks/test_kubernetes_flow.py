"""Kubernetes projects in the flow `upgrade`: a real Prefect server, a real agent, a real API server; the test plays the kubelet."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

from db.documents.deploy_request import DeployTaskRequest
from db.models import DeployResult, DeployTask, Installation, LatestPodReport, utc_now
from db.secrets import load_secret_key, sha256_hex
from db.session import Database, open_database
from flows.upgrade import upgrade
from tasks.planning import create_deploy_task
from tests.agents import TOKEN
from tests.builders import create_client
from tests.integration.agent.kubernetes_agent import KubernetesAgent
from tests.kubelet import Kubelet
from tests.kubernetes_cluster import KubernetesCluster
from tests.prefect_server import prefect_server  # noqa: F401 (a fixture)
from tests.real_processes import wait_until
from tests.served_api import ServedApi, serve_api

REPORT_TOKEN = "the-report-token-of-web-1"
_names = (f"flow-{number}" for number in itertools.count(1))


@dataclass
class ClusterShop:
    """Project shop, whose Deployment shop-prod is in a namespace of the client web-1's cluster."""

    api: ServedApi
    database: Database
    agent: KubernetesAgent
    kubelet: Kubelet
    project_id: str

    async def run(self, operation: str, version: str | None = "1.1", **fields):
        """A deploy task from its request to its end: its row, and the client's result."""
        asked = {
            "project_id": self.project_id,
            "operation": operation,
            "version": version,
            "client_ids": ["web-1"],
            "strategy": {"stable_for_s": 1, "health_timeout_s": 20},
            **fields,
        }
        with self.database.write() as session:
            request = DeployTaskRequest.model_validate(asked)
            task_id = create_deploy_task(session, request, now=utc_now(), who="test").id
        await upgrade(deploy_task_id=task_id, return_state=True)
        with self.database.read() as session:
            result = session.scalars(select(DeployResult).where(DeployResult.deploy_task_id == task_id)).one()
            return session.get_one(DeployTask, task_id), result

    @property
    def installation(self) -> tuple[str, str | None, str]:
        with self.database.read() as session:
            row = session.scalars(select(Installation)).one()
            return row.version, row.previous_version, row.status

    def image(self) -> str:
        return self.agent.image("shop-prod")


@pytest.fixture
def shop(
    database_url: str, tmp_path: Path, monkeypatch, kubernetes: KubernetesCluster, prefect_api: str
) -> Iterator[ClusterShop]:
    """Runs on SQLite and on PostgreSQL."""
    monkeypatch.setenv("HOIST_DATABASE_URL", database_url)
    monkeypatch.setenv("HOIST_SECRET_KEY_FILE", str(tmp_path / "secret.key"))
    database = open_database(database_url)
    namespace = kubernetes.namespace(next(_names))
    with serve_api(database) as api, Kubelet(kubernetes, namespace, **{"1.2": "crashing"}) as kubelet:
        reports = {"HOIST_AGENT_API_URL": api.url, "HOIST_AGENT_API_TOKEN": REPORT_TOKEN}
        agent = KubernetesAgent(tmp_path / "agent", kubernetes, namespace, **reports)
        try:
            agent.start()
            agent.create(2, "shop-prod")
            project_id = _register(api, database, agent)
            yield ClusterShop(api, database, agent, kubelet, project_id)
        finally:
            agent.close()
            kubernetes.kubectl("delete", "deployments", "--all", f"--namespace={namespace}", "--wait=false")
    database.close()


def _register(api: ServedApi, database: Database, agent: KubernetesAgent) -> str:
    """By the release API, as people do; but for the client, whose report token the agent has already."""
    operator = api.operator
    config = {"namespace": agent.namespace, "container": "app", "progress_deadline_s": 5}
    project = {"name": "shop", "type": "kubernetes", "kubernetes_config": config}
    made = operator.post("/release/projects", json=project)
    assert made.status_code == 201, made.text
    environment = operator.post("/release/projects/shop/environments", json={"name": "prod"}).json()
    for version in ("1.0", "1.1", "1.2"):
        body = {"project_id": "shop", "version": version, "status": "active"}
        answer = operator.post(
            "/release/versions", json={**body, "deploy_config": {"image": f"shop:{version}"}}
        )
        assert answer.status_code == 201, answer.text
    with database.write() as session:
        create_client(
            session,
            "web-1",
            url=f"http://127.0.0.1:{agent.port}",
            token_encrypted=load_secret_key().encrypt(TOKEN),
            report_token_sha256=sha256_hex(REPORT_TOKEN),
        )
    target = {"client_id": "web-1", "name": "cluster", "type": "k8s-cluster"}
    answer = operator.post(f"/release/environments/{environment['id']}/targets", json=target)
    assert answer.status_code == 201, answer.text
    return str(made.json()["id"])


async def test_install_update_rollback_and_uninstall(shop):
    task, result = await shop.run("install", "1.0")
    assert (task.status, result.status, result.error) == ("completed", "success", None)
    assert shop.installation == ("1.0", None, "installed")

    task, result = await shop.run("update")
    assert (task.status, result.status, result.error) == ("completed", "success", None)
    assert shop.image() == "shop:1.1"
    assert result.evidence.held
    assert "2 pods of shop-prod are ready with shop:1.1" in result.evidence.detail
    assert len(result.evidence.pods) == 2
    assert {one.containers[0].image for one in result.evidence.pods} == {"shop:1.1"}
    assert shop.installation == ("1.1", "1.0", "installed")
    _shown_and_watched(shop)

    task, result = await shop.run("rollback", None)
    assert (task.status, result.status) == ("completed", "success"), result.error
    assert shop.image() == "shop:1.0"
    assert shop.installation[0] == "1.0"

    task, result = await shop.run("uninstall", None)
    assert (task.status, result.status) == ("completed", "success"), result.error
    assert shop.agent.now("shop-prod")["spec"]["replicas"] == 0
    assert shop.installation[2] == "uninstalled"
    assert shop.agent.http.get("/v1/monitors").json() == []


def _shown_and_watched(shop) -> None:
    seen = shop.api.operator.get("/release/projects/shop/pods").json()
    assert (seen["summary"]["total_pods"], seen["summary"]["ready_count"]) == (2, 2), seen
    [client] = seen["clients"]
    assert client["client_id"] == "web-1"
    assert {pod["matched_project"] for pod in client["pods"]} == {"shop"}
    [monitor] = shop.agent.http.get("/v1/monitors").json()
    assert monitor["pods"]["namespace"] == shop.agent.namespace


async def test_rollout_that_fails_is_undone_and_the_client_failed(shop):
    await shop.run("install", "1.0")
    task, result = await shop.run("update", "1.2")
    assert (task.status, result.status) == ("failed", "failed")
    assert "the rollout failed" in result.error
    assert "CrashLoopBackOff" in result.error
    assert "it is back at shop:1.0" in result.error
    assert shop.image() == "shop:1.0"
    assert shop.installation == ("1.0", None, "failed")
    assert shop.api.operator.get("/release/alerts").json() == [], "what a deploy task causes is no alert"


async def test_pod_that_crashes_later_is_an_alert_by_the_monitor(shop):
    shop.api.operator.patch(
        "/release/versions/" + _version_id(shop, "1.0"), json={"process_config": {"collect_interval": 5}}
    )
    await shop.run("install", "1.0")
    shop.kubelet.images["1.0"] = "crashing"
    wait_until(lambda: shop.api.operator.get("/release/alerts?status=firing").json())
    found = shop.api.operator.get("/release/alerts?status=firing").json()
    assert {one["type"] for one in found} == {"pod_failed"}
    assert "CrashLoopBackOff" in found[0]["message"]
    assert found[0]["labels"]["version"] == "1.0"


def _version_id(shop, name: str) -> str:
    found = shop.api.operator.get("/release/projects/shop/versions").json()
    return next(one["id"] for one in found if one["version"] == name)


async def test_client_without_a_cluster_is_refused_before_anything_runs(shop, tmp_path):
    shop.agent.stop()
    del shop.agent._settings["HOIST_AGENT_KUBECONFIG"]
    shop.agent.start()
    _, result = await shop.run("install", "1.0")
    assert (result.status, result.ran) == ("failed", False)
    assert "cannot ask a cluster" in result.error
    with shop.database.read() as session:
        assert session.scalars(select(LatestPodReport)).all() == []


async def test_image_that_the_node_calls_otherwise_is_the_version_s(shop):
    shop.kubelet.retagged["shop:1.1"] = "shop:1.1-rc3"
    for version in ("1.0", "1.1"):
        task, result = await shop.run("deploy", version)
        assert (task.status, result.status, result.error) == ("completed", "success", None)
        wait_until(lambda version=version: _drift(shop) == ("match", version))
    pods = shop.agent.cluster.get(f"/api/v1/namespaces/{shop.agent.namespace}/pods")["items"]
    called = {one["status"]["containerStatuses"][0]["image"] for one in pods}
    assert "docker.io/library/shop:1.1-rc3" in called, "what its version isn't called"


def _drift(shop):
    (row,) = shop.api.operator.get("/release/projects/shop/drift").json()
    return row["drift"], row["observed_version"]
