"""Recorded against observed, over HTTP, on both databases: from what agents really report to what repairs it."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from agent.wire.containers import DeployConfig
from agent.wire.processes import ProcessConfig, Rule
from agent.wire.releases import VersionProbe
from db.documents.evidence import EvidenceConfig
from db.documents.kubernetes_config import ProjectKubernetes
from db.models import Alert, Client, DeployTask, LatestProcessReport, News, utc_now
from db.secrets import sha256_hex
from tasks.fleet.drift import drift_table, judge_drifts, read_drifts
from tests.builders import (
    create_client,
    create_environment,
    create_installation,
    create_project,
    create_target,
    create_version,
)
from tests.served_api import assert_problem

DRIFT = "/release/projects/shop/drift"
CLIENTS = ("c1", "c2", "c3", "c4", "c5")
RULES = ProcessConfig(rules=(Rule(type="name", pattern="app", name="main"),))
PROBED = EvidenceConfig(version_probe=VersionProbe(type="command", command="app --version"))


def token_of(client):
    return f"the-report-token-of-{client}"


@pytest.fixture
def fleet(served):
    """c1 to c4 have shop 1.4, c5 has nothing."""
    with served.database.write() as session:
        project = create_project(session, "shop")
        environment = create_environment(session, project, "prod")
        for version in ("1.4", "1.5"):
            create_version(session, project, version, process_config=RULES, evidence=PROBED)
        for client_id in CLIENTS:
            client = create_client(session, client_id, report_token_sha256=sha256_hex(token_of(client_id)))
            target = create_target(session, environment, client)
            if client_id != "c5":
                create_installation(session, target, "1.4")
        return project.id


def report(served, project_id, client_id, observed="1.4", *, there=True, version="1.4"):
    now = datetime.now(UTC).isoformat()
    process = {"pid": 7, "name": "app", "start_time": now, "status": "sleeping", "matched_by": "main"}
    body = {
        "client_id": client_id,
        "project_id": project_id,
        "version": version,
        "observed_version": observed,
        "processes": [process] if there else [],
        "unmatched_rules": [] if there else ["main"],
        "reported_at": now,
    }
    answer = served.client(token_of(client_id)).post("/release/process-report", json=body)
    assert answer.status_code == 202, answer.text


@pytest.fixture
def drifted(served, fleet):
    """c1 is right, c2 has another version, on c3 nothing runs, c4 was never heard of, c5 has what it should not."""
    report(served, fleet, "c1")
    report(served, fleet, "c2", "1.3")
    report(served, fleet, "c3", None, there=False)
    report(served, fleet, "c5")
    return fleet


def by_client(served, **query):
    return {row["client_id"]: row for row in served.viewer.get(DRIFT, params=query).json()}


def test_each_client_is_told_with_what_is_recorded_and_observed(served, drifted):
    rows = by_client(served)
    assert {client: row["drift"] for client, row in rows.items()} == {
        "c1": "match",
        "c2": "wrong_version",
        "c3": "missing",
        "c4": "unknown",
        "c5": "extra",
    }
    assert (rows["c2"]["recorded_version"], rows["c2"]["observed_version"]) == ("1.4", "1.3")
    assert rows["c3"]["observed_version"] is None
    assert rows["c4"]["observed_at"] is None
    assert (rows["c5"]["environment"], rows["c5"]["recorded_version"]) == (None, None)
    assert rows["c1"]["environment"] == "prod"


def test_reports_that_stopped_are_stale(served, drifted):
    with served.database.write() as session:
        for row in session.scalars(select(LatestProcessReport)):
            row.received_at = utc_now() - timedelta(minutes=20)
    assert {client: row["drift"] for client, row in by_client(served).items()} == {
        "c1": "stale",
        "c2": "stale",
        "c3": "stale",
        "c4": "unknown",
    }


def test_filter_and_pages(served, drifted):
    assert list(by_client(served, drift="missing")) == ["c3"]
    first = served.viewer.get(DRIFT, params={"limit": 2})
    assert [row["client_id"] for row in first.json()] == ["c1", "c2"]
    second = served.viewer.get(first.links["next"]["url"])
    assert [row["client_id"] for row in second.json()] == ["c3", "c4"]
    assert_problem(served.viewer.get(DRIFT, params={"drift": "no such"}), 422)
    assert_problem(served.viewer.get("/release/projects/nosuch/drift"), 404)


def test_repair_makes_a_deploy_task_of_the_recorded_version_for_who_needs_it(served, drifted):
    answer = served.operator.post(f"{DRIFT}/repair")
    assert answer.status_code == 201, answer.text
    (task_id,) = answer.json()["deploy_task_ids"]
    task = served.operator.get(f"/release/tasks/{task_id}").json()
    assert task["client_ids"] == ["c2", "c3"]
    assert (task["version"], task["operation"], task["redeploy"]) == ("1.4", "deploy", True)
    assert task["status"] == "pending"


@pytest.mark.parametrize(
    ("body", "clients"),
    [({"client_ids": ["c3", "c1"]}, ["c3"]), ({"environment": "prod"}, ["c2", "c3"])],
)
def test_repair_of_some(served, drifted, body, clients):
    (task_id,) = served.operator.post(f"{DRIFT}/repair", json=body).json()["deploy_task_ids"]
    assert served.operator.get(f"/release/tasks/{task_id}").json()["client_ids"] == clients


def test_nothing_to_repair_is_a_clear_answer_and_stores_nothing(served, fleet):
    problem = assert_problem(served.operator.post(f"{DRIFT}/repair"), 422)
    assert "nothing of shop is to be repaired" in problem["detail"]
    assert_problem(served.operator.post(f"{DRIFT}/repair", json={"clients": []}), 422)
    assert_problem(served.viewer.post(f"{DRIFT}/repair"), 403)
    with served.database.read() as session:
        assert session.scalars(select(DeployTask)).all() == []


def test_version_without_rules_or_probe_claims_nothing(served, fleet):
    with served.database.write() as session:
        project = create_project(session, "plain")
        environment = create_environment(session, project, "prod")
        create_version(session, project, "1.4")
        create_installation(
            session, create_target(session, environment, session.get_one(Client, "c1")), "1.4"
        )
        plain = project.id
    report(served, plain, "c1", None, there=False)
    (row,) = served.viewer.get("/release/projects/plain/drift").json()
    assert row["drift"] == "unknown"


def test_containers_say_their_version_by_labels(served, fleet):
    with served.database.write() as session:
        project = create_project(session, "boxes", type="container")
        environment = create_environment(session, project, "prod")
        config = DeployConfig(image="boxes:1.4")
        create_version(
            session,
            project,
            "1.4",
            deploy_config=config,
            install_script=None,
            update_script=None,
            rollback_script=None,
            uninstall_script=None,
        )
        for client_id in ("c1", "c2", "c3"):
            target = create_target(session, environment, session.get_one(Client, client_id))
            create_installation(session, target, "1.4")
        boxes = project.id
    for client_id, version, state in (
        ("c1", "1.4", "running"),
        ("c2", "1.3", "running"),
        ("c3", "1.4", "exited"),
    ):
        now = datetime.now(UTC).isoformat()
        container = {
            "container_id": "a" * 64,
            "container_name": "boxes-1",
            "image": "boxes:1",
            "status": "Up",
            "state": state,
            "created_at": now,
            "project_id": boxes,
            "version": version,
        }
        body = {"client_id": client_id, "containers": [container], "reported_at": now}
        assert served.client(token_of(client_id)).post("/release/container-report", json=body).is_success
    rows = served.viewer.get("/release/projects/boxes/drift").json()
    assert {row["client_id"]: row["drift"] for row in rows} == {
        "c1": "match",
        "c2": "wrong_version",
        "c3": "missing",
    }


@pytest.mark.parametrize(
    ("images", "drift", "observed"),
    [
        (["shop:1.4", "istio:7"], "match", "1.4"),
        (["shop:1.5"], "wrong_version", "1.5"),
        (["shop:1.4", "shop:1.5"], "wrong_version", "1.4, 1.5"),
        (["shop:nightly"], "wrong_version", "shop:nightly"),
        (["docker.io/library/shop:1.4", "istio:7"], "match", "1.4"),
        (["docker.io/library/shop:1.5"], "wrong_version", "1.5"),
        (["istio:7", "shop@sha256:0a1b"], "unknown", None),
        ([], "missing", None),
    ],
)
def test_pods_say_their_version_by_their_image(served, images, drift, observed):
    assert drift_of_pods(served, images) == (drift, observed)


def test_of_versions_with_one_image_it_is_the_recorded_one(served):
    """They differ in something else."""
    assert drift_of_pods(served, ["shop:1.4"], also={"1.4-more-memory": "shop:1.4"}) == ("match", "1.4")
    rows = served.viewer.get(DRIFT).json()
    assert [row["recorded_version"] for row in rows] == ["1.4"]


def drift_of_pods(served, images, also=None):
    """1.4 is recorded, pods run these images: the drift, and the observed version."""
    with served.database.write() as session:
        create_client(session, "cluster-01", report_token_sha256=sha256_hex(token_of("cluster-01")))
        project = create_project(session, "shop", type="kubernetes")
        project.kubernetes_config = ProjectKubernetes(namespace="shop", deployment="shop")
        environment = create_environment(session, project, "prod")
        for version, image in {"1.4": "shop:1.4", "1.5": "shop:1.5", **(also or {})}.items():
            create_version(session, project, version, deploy_config=DeployConfig(image=image))
        target = create_target(session, environment, session.get_one(Client, "cluster-01"))
        create_installation(session, target, "1.4")
    pods = [
        {
            "name": f"shop-7d4b9c6f5-{number:05d}",
            "namespace": "shop",
            "uid": f"uid-{number}",
            "phase": "Running",
            "ready": True,
            "restart_count": 0,
            "containers": [
                {"name": "app", "image": image, "ready": True, "state": "running", "restart_count": 0}
            ],
        }
        for number, image in enumerate(images)
    ]
    body = {"client_id": "cluster-01", "pods": pods, "reported_at": datetime.now(UTC).isoformat()}
    answer = served.client(token_of("cluster-01")).post(
        "/release/pod-report", json=body | {"namespace": "shop"}
    )
    assert answer.status_code == 202, answer.text
    (row,) = served.viewer.get(DRIFT).json()
    return row["drift"], row["observed_version"]


def judge(served, **values):
    with served.database.write() as session:
        now = utc_now()
        return judge_drifts(session, read_drifts(session, now), now, **values)


def drift_alerts(served):
    with served.database.read() as session:
        return {row.client_id: row for row in session.scalars(select(Alert).where(Alert.type == "drift"))}


def test_drift_is_an_alert_once_it_lasts_and_resolves(served, drifted):
    assert [one.row.client_id for one in judge(served)] == ["c2", "c3", "c5"]
    assert all(row.fired_at is None for row in drift_alerts(served).values())
    judge(served, for_s=0)
    fired = drift_alerts(served)
    assert set(fired) == {"c2", "c3", "c5"}
    assert all(row.fired_at is not None for row in fired.values())
    assert fired["c2"].message.startswith("shop: 1.4 is recorded, 1.3 runs")
    judge(served, for_s=0)
    with served.database.read() as session:
        news = session.scalars(select(News).where(News.title.contains("drift"))).all()
    assert len(news) == 3
    for client_id in ("c2", "c3"):
        report(served, drifted, client_id)
    judge(served, for_s=0)
    assert [client for client, row in drift_alerts(served).items() if row.resolved_at is None] == ["c5"]


def test_table_has_the_worst_first(served, drifted):
    rows = drift_table(judge(served))
    assert [row["drift"] for row in rows] == ["wrong version", "missing", "extra"]
    assert rows[0] | {"seen at": ""} == {
        "project": "shop",
        "client": "c2",
        "environment": "prod",
        "drift": "wrong version",
        "recorded": "1.4",
        "observed": "1.3",
        "seen at": "",
    }
