"""Pod reports over HTTP, on both databases: kept, matched to projects, shown."""

import json
import time
import zlib
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from agent.wire.naming import ContainerNaming
from agent.wire.pods import PodInfo
from db.documents.kubernetes_config import ProjectKubernetes
from db.history.pod_selections import drop_old_selections
from db.models import LatestPodReport, PodReportRow
from db.secrets import sha256_hex
from tests.builders import create_client, create_container_project, create_project
from tests.served_api import assert_problem

REPORT = "/release/pod-report"
TOKEN = "the-report-token-of-cluster-01"
LIMIT = 8 * 1024 * 1024
BOUND_S = 20
"""For what takes a second or two on an idle machine: tests share theirs."""


@pytest.fixture
def fleet(served):
    """Clients cluster-01 and cluster-02; projects with prefixes, one with labels, one with a Deployment of another name."""
    with served.database.write() as session:
        create_client(session, "cluster-01", report_token_sha256=sha256_hex(TOKEN))
        create_client(session, "cluster-02")
        create_project(session, "plain")
        for name in ("shop", "shop-api"):
            create_container_project(session, name)
        config = ProjectKubernetes(namespace="store", match_labels={"app": "store"})
        create_project(session, "store", type="kubernetes", kubernetes_config=config)
        naming = ContainerNaming(prefix="books", template="${PREFIX}-${ENV}")
        config = ProjectKubernetes(namespace="books", deployment="web")
        create_project(session, "books", type="kubernetes", container_naming=naming, kubernetes_config=config)


@pytest.fixture
def agent(served, fleet):
    return served.client(TOKEN)


def now(**delta):
    return (datetime.now(UTC) + timedelta(**delta)).isoformat()


def pod(name, namespace="default", **fields):
    base = {
        "name": name,
        "namespace": namespace,
        "uid": f"uid-{zlib.crc32(f'{namespace}/{name}'.encode())}",
        "phase": "Running",
        "ready": True,
    }
    return {**base, **fields}


def report(*pods, client_id="cluster-01", **fields):
    said = [pod(one) if isinstance(one, str) else one for one in pods]
    return {"client_id": client_id, "pods": said, "reported_at": now(), **fields}


def send(caller, *pods, **fields):
    answer = caller.post(REPORT, json=report(*pods, **fields))
    assert answer.status_code == 202, answer.text
    return answer.json()


def of_project(operator, project="shop"):
    answer = operator.get(f"/release/projects/{project}/pods")
    assert answer.status_code == 200, answer.text
    return answer.json()


def names_of(operator, project="shop"):
    return {
        one["client_id"]: [inside["name"] for inside in one["pods"]]
        for one in of_project(operator, project)["clients"]
    }


def count(served, table=PodReportRow):
    with served.database.read() as session:
        return session.scalar(select(func.count()).select_from(table))


def test_accepted_report_is_committed_and_shown(served, operator, agent):
    container = {
        "name": "app",
        "image": "shop:1.5",
        "ready": False,
        "restart_count": 3,
        "state": "waiting",
        "started_at": None,
        "reason": "CrashLoopBackOff",
        "exit_code": 137,
        "last_reason": "OOMKilled",
    }
    broken = pod(
        "shop-1",
        ready=False,
        restart_count=3,
        labels={"app": "shop"},
        containers=[container],
        reason="CrashLoopBackOff",
        host_ip="10.0.0.1",
        pod_ip="10.1.0.1",
        start_time="2026-01-01T02:00:00+02:00",
        future_field=1,
    )
    answer = send(agent, broken, "shop-2", pod("shop-3", phase="Failed", ready=False), future_field=1)
    assert (answer["duplicate"], answer["newest"]) == (False, True)
    assert count(served) == count(served, LatestPodReport) == 1
    seen = of_project(operator)
    assert seen["prefix"] == "shop"
    assert seen["summary"] == {
        "total_clients": 1,
        "total_pods": 3,
        "ready_count": 1,
        "not_ready_count": 2,
        "failed_count": 1,
    }
    (client,) = seen["clients"]
    assert (client["client_id"], client["truncated"]) == ("cluster-01", False)
    first = client["pods"][0]
    assert first["containers"] == [container]
    assert first["start_time"] == "2026-01-01T00:00:00Z"
    assert first["matched_project"] == "shop"
    assert first["reported_at"] == client["last_report"]
    assert set(first) == {*PodInfo.model_fields, "reported_at"}
    same = broken.keys() - {"future_field", "start_time"}
    assert {key: first[key] for key in same} == {key: broken[key] for key in same}


def test_longest_prefix_wins_and_only_at_its_separator(operator, agent):
    send(agent, "shop", "shop-1", "shop-api-1", "shop-apis-1", "shop2-1", "other")
    assert names_of(operator) == {"cluster-01": ["shop", "shop-1", "shop-apis-1"]}
    assert names_of(operator, "shop-api") == {"cluster-01": ["shop-api-1"]}


def test_labels_and_the_deployments_name_match_in_their_namespace_alone(operator, agent):
    labelled = {"labels": {"app": "store", "tier": "web"}}
    send(
        agent,
        pod("shop-7", "store", **labelled),
        pod("any", "store", labels={"app": "other"}),
        pod("any", "default", **labelled),
        pod("web-1", "books"),
        pod("books-prod-1", "books"),
        pod("web-1", "default"),
        pod("books-prod-1", "default"),
    )
    assert names_of(operator, "store") == {"cluster-01": ["shop-7"]}
    assert names_of(operator, "books") == {"cluster-01": ["books-prod-1", "web-1"]}
    assert names_of(operator) == {}


def test_claims_are_matched_as_they_are_now(operator, agent):
    send(agent, "shop-1", pod("old-1", matched_project="said by the agent"))
    changed = {"container_naming": {"prefix": "old"}}
    assert operator.patch("/release/projects/shop", json=changed).status_code == 200
    assert names_of(operator) == {"cluster-01": ["old-1"]}
    assert of_project(operator)["clients"][0]["pods"][0]["matched_project"] == "shop"


def test_project_without_pods_is_empty(operator, agent):
    send(agent, "plain-1")
    for project, prefix in (("plain", None), ("shop", "shop"), ("store", None)):
        seen = of_project(operator, project)
        assert (seen["prefix"], seen["clients"]) == (prefix, [])
        assert set(seen["summary"].values()) == {0}
    assert_problem(operator.get("/release/projects/nope/pods"), 404)


def test_reports_of_several_selections_stand_beside_each_other(served, operator, agent):
    send(agent, pod("shop-1", "a"), namespace="a")
    send(agent, pod("shop-2", "b"), namespace="b")
    send(agent, pod("shop-3", "b"), namespace="b", label_selector="app=shop")
    assert count(served, LatestPodReport) == 3
    assert names_of(operator) == {"cluster-01": ["shop-1", "shop-2", "shop-3"]}
    send(agent, pod("shop-4", "a"), namespace="a")
    assert names_of(operator) == {"cluster-01": ["shop-4", "shop-2", "shop-3"]}
    assert count(served, LatestPodReport) == 3
    # One of everything: what it does not have, is gone, whoever said so before.
    send(agent, pod("shop-2", "b", phase="Pending", ready=False))
    assert names_of(operator) == {"cluster-01": ["shop-2"]}
    assert of_project(operator)["clients"][0]["pods"][0]["phase"] == "Pending"
    send(agent, pod("shop-5", "a"), truncated=True)
    assert of_project(operator)["clients"][0]["truncated"] is True


def test_same_report_twice_is_one(served, agent):
    for body in (report("shop-1", report_id="r-1"), report("shop-2")):
        before = count(served)
        first, second = agent.post(REPORT, json=body), agent.post(REPORT, json=body)
        assert (first.status_code, second.status_code) == (202, 202)
        assert (first.json()["duplicate"], second.json()["duplicate"]) == (False, True)
        assert count(served) == before + 1


def test_idempotency_key_answers_the_same_again(served, agent):
    key = {"Idempotency-Key": "k-1"}
    body = report("shop-1")
    first, again = agent.post(REPORT, json=body, headers=key), agent.post(REPORT, json=body, headers=key)
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert count(served) == 1


def test_older_report_is_kept_and_changes_nothing(served, operator, agent):
    send(agent, "shop-1")
    before = of_project(operator)
    assert send(agent, "shop-2", reported_at=now(minutes=-5))["newest"] is False
    assert (count(served), count(served, LatestPodReport)) == (2, 1)
    assert of_project(operator) == before


def test_report_from_the_future_counts_as_made_when_it_was_received(operator, agent):
    assert send(agent, "shop-1", reported_at=now(days=1))["newest"] is True
    assert send(agent, "shop-2")["newest"] is True
    assert names_of(operator) == {"cluster-01": ["shop-2"]}


def test_agent_may_report_only_as_itself(served, operator, agent):
    assert_problem(agent.post(REPORT, json=report("a", client_id="cluster-02")), 403, mentions="cluster-01")
    for path in ("/release/projects/shop/pods", REPORT):
        assert_problem(agent.get(path), 403)
    assert_problem(served.viewer.post(REPORT, json=report("a")), 403)
    assert served.viewer.get("/release/projects/shop/pods").status_code == 200
    assert_problem(served.client(None).post(REPORT, json=report("a")), 401)
    assert_problem(operator.post(REPORT, json=report("a", client_id="nobody")), 404)
    assert count(served) == 0


def test_deleted_client_takes_its_reports_along(served, operator, agent):
    send(agent, "shop-1")
    assert operator.delete("/release/clients/cluster-01").status_code == 204
    assert count(served) == count(served, LatestPodReport) == 0
    assert of_project(operator)["clients"] == []


def test_selections_that_nobody_reports_any_more_end_with_the_history(served, operator, agent):
    send(agent, pod("shop-1", "a"), namespace="a")
    send(agent, pod("shop-2", "b"), namespace="b")
    today = datetime.now(UTC).date()
    with served.database.write() as session:
        assert drop_old_selections(session, today, 10) == 0
        assert drop_old_selections(session, today + timedelta(days=1), 1) == 1
    assert count(served, LatestPodReport) == 1
    assert len(names_of(operator)["cluster-01"]) == 1


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"client_id": "../x"}, "client_id"),
        ({"reported_at": "2026-01-01T00:00:00"}, "reported_at"),
        ({"pods": None}, "pods"),
        ({"pods": [{}]}, "pods.0.name"),
        ({"namespace": "Not_A_Label"}, "namespace"),
        ({"label_selector": ""}, "label_selector"),
        ({"label_selector": "x" * 1001}, "label_selector"),
        ({"label_selector": "a\0b"}, None),
        ({"report_id": "../x"}, "report_id"),
    ],
)
def test_invalid_report_is_refused(served, operator, fleet, fields, field):
    assert_problem(operator.post(REPORT, json=report("shop-1", **fields)), 422, field=field)
    assert count(served) == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"phase": "Happy"},
        {"ready": None},
        {"restart_count": 2**40},
        {"restart_count": -1},
        {"start_time": "yesterday"},
        {"name": "a\0b"},
        {"name": "x" * 254},
        {"labels": {"a": "x" * 64}},
        {"labels": {f"l{number}": "" for number in range(65)}},
        {"labels": {"a\0": ""}},
        {"containers": [{"name": "app"}]},
        {"reason": "\ud800"},
    ],
)
def test_invalid_pod_is_refused(served, agent, fields):
    body = json.dumps(report({**pod("shop-1"), **fields})).encode()
    answer = agent.post(REPORT, content=body, headers={"Content-Type": "application/json"})
    assert_problem(answer, 422)
    assert count(served) == 0


def test_ten_thousand_pods_are_taken_and_shown_in_bounded_time(served, operator, agent):
    broken = {"ready": False, "reason": "CrashLoopBackOff", "restart_count": 7}
    pods = [pod(f"shop-prod-{number}", **broken) for number in range(10_000)]
    body = json.dumps(report(*pods)).encode()
    assert 1024 * 1024 < len(body) < LIMIT
    began = time.monotonic()
    assert agent.post(REPORT, content=body).status_code == 202
    assert of_project(operator)["summary"]["total_pods"] == 10_000
    assert time.monotonic() - began < BOUND_S
    assert count(served) == 1


def test_more_than_the_limits_is_refused(served, agent):
    assert_problem(agent.post(REPORT, content=b" " * (LIMIT + 1)), 413)
    assert_problem(agent.post(REPORT, json=report(*["a"] * 10_001)), 422, field="pods")
    assert count(served) == 0
