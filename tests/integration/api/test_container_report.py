"""TEST-008: container reports over HTTP, on both databases."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, insert, select

from agent.wire.containers import ContainerInfo
from agent.wire.naming import ContainerNaming
from db.models import Alert, Client, ContainerReportRow, LatestContainerReport
from db.secrets import sha256_hex
from tests.builders import NOW, create_client, create_container_project, create_project
from tests.served_api import assert_problem

REPORT = "/release/container-report"
OVERVIEW = "/release/containers/overview"
TOKEN = "the-report-token-of-web-01"
LIMIT = 8 * 1024 * 1024
BOUND_S = 20
"""For what takes a second or two on an idle machine: tests share theirs."""
ALL_EXITED_BOUND_S = 40
"""The same, where an alert is written for each container."""


@pytest.fixture
def fleet(served):
    """Clients web-01 and web-02; projects shop, shop-api and store (of scripts), and one that names no containers."""
    with served.database.write() as session:
        create_client(session, "web-01", report_token_sha256=sha256_hex(TOKEN))
        create_client(session, "web-02")
        create_project(session, "plain")
        create_project(session, "store", container_naming=ContainerNaming(prefix="store", separator="_"))
        return {name: create_container_project(session, name) for name in ("shop", "shop-api")}


@pytest.fixture
def agent(served, fleet):
    return served.client(TOKEN)


def now(**delta):
    return (datetime.now(UTC) + timedelta(**delta)).isoformat()


def container(name, state="running", **fields):
    base = {
        "container_id": f"{abs(hash(name)):064d}"[:64],
        "container_name": name,
        "image": "shop:1.5",
        "status": "Up 2 hours",
        "state": state,
        "created_at": "2026-01-01T00:00:00Z",
    }
    return {**base, **fields}


def report(*names, client_id="web-01", **fields):
    containers = [container(name) if isinstance(name, str) else name for name in names]
    return {"client_id": client_id, "containers": containers, "reported_at": now(), **fields}


def send(caller, *names, **fields):
    answer = caller.post(REPORT, json=report(*names, **fields))
    assert answer.status_code == 202, answer.text
    return answer.json()


def of_project(operator, project="shop"):
    answer = operator.get(f"/release/projects/{project}/containers")
    assert answer.status_code == 200, answer.text
    return answer.json()


def names_of(operator, project="shop"):
    return {
        one["client_id"]: [inside["container_name"] for inside in one["containers"]]
        for one in of_project(operator, project)["clients"]
    }


def count(served, table=ContainerReportRow):
    with served.database.read() as session:
        return session.scalar(select(func.count()).select_from(table))


def test_accepted_report_is_committed_and_shown(served, operator, agent, fleet):
    measured = container(
        "shop-prod-1",
        cpu_percent=1.5,
        memory_usage=2**40,
        memory_limit=2**41,
        memory_percent=50,
        network_rx=10,
        network_tx=20,
        health="healthy",
        restart_count=2,
        started_at="2026-01-01T02:00:00+02:00",
        future_field=1,
    )
    exited = container("shop-prod-2", "exited", exit_code=137)
    answer = send(agent, measured, exited, docker_version="26.1", future_field=1)
    assert (answer["duplicate"], answer["newest"]) == (False, True)
    assert count(served) == count(served, LatestContainerReport) == 1
    seen = of_project(operator)
    assert (seen["project_id"], seen["prefix"]) == (fleet["shop"].id, "shop")
    assert seen["summary"] == {
        "total_clients": 1,
        "total_containers": 2,
        "running_count": 1,
        "stopped_count": 1,
    }
    (client,) = seen["clients"]
    assert client["client_id"] == "web-01"
    assert client["last_report"].endswith("Z")
    first, second = client["containers"]
    assert (
        first.items()
        >= {key: measured[key] for key in measured.keys() - {"future_field", "started_at"}}.items()
    )
    assert first["started_at"] == "2026-01-01T00:00:00Z"
    assert (first["matched_project"], first["matched_prefix"]) == ("shop", "shop")
    assert set(first) == set(ContainerInfo.model_fields)
    assert (second["exit_code"], second["cpu_percent"]) == (137, None)


@pytest.mark.parametrize("state", ["created", "paused", "restarting", "removing", "exited", "dead"])
def test_what_does_not_run_is_stopped(operator, agent, state):
    send(agent, "shop-1", container("shop-2", state))
    summary = of_project(operator)["summary"]
    assert (summary["running_count"], summary["stopped_count"]) == (1, 1)


def test_longest_prefix_wins_and_only_at_its_separator(operator, agent):
    names = [
        "shop",
        "shop-1",
        "shop-api",
        "shop-api-1",
        "shop-apis-1",
        "shop2-1",
        "Shop-1",
        "store-1",
        "store_1",
    ]
    send(agent, *names)
    assert names_of(operator) == {"web-01": ["shop", "shop-1", "shop-apis-1"]}
    assert names_of(operator, "shop-api") == {"web-01": ["shop-api", "shop-api-1"]}
    assert names_of(operator, "store") == {"web-01": ["store_1"]}


def test_client_counts_while_its_newest_report_has_a_container_of_the_project(operator, agent):
    send(agent, "shop-1", "other-1")
    send(operator, "other-1", client_id="web-02")
    assert of_project(operator)["summary"]["total_clients"] == 1
    send(operator, "shop-1", "shop-2", client_id="web-02")
    summary = of_project(operator)["summary"]
    assert (summary["total_clients"], summary["total_containers"]) == (2, 3)
    assert list(names_of(operator)) == ["web-01", "web-02"]
    send(agent)
    assert list(names_of(operator)) == ["web-02"]


def test_project_without_containers_is_empty(operator, agent):
    send(agent, "plain-1")
    for project, prefix in (("plain", None), ("shop", "shop")):
        seen = of_project(operator, project)
        assert (seen["prefix"], seen["clients"]) == (prefix, [])
        assert set(seen["summary"].values()) == {0}
    assert_problem(operator.get("/release/projects/nope/containers"), 404)


def test_prefixes_are_matched_as_they_are_now(operator, agent):
    send(agent, "shop-1", container("old-1", matched_project="shop", matched_prefix="old"))
    assert names_of(operator) == {"web-01": ["shop-1"]}
    changed = {"container_naming": {"prefix": "old"}}
    assert operator.patch("/release/projects/shop", json=changed).status_code == 200
    (client,) = of_project(operator)["clients"]
    assert [one["matched_prefix"] for one in client["containers"]] == ["old"]
    assert names_of(operator) == {"web-01": ["old-1"]}
    operator.patch("/release/projects/shop", json={"name": "renamed"})
    (client,) = of_project(operator, "renamed")["clients"]
    assert client["containers"][0]["matched_project"] == "renamed"


def test_newest_report_is_kept_as_the_agent_sent_it(served, agent):
    send(agent, container("shop-1", matched_project="said by the agent"))
    with served.database.read() as session:
        (stored,) = session.scalars(select(LatestContainerReport)).one().containers
        assert stored.matched_project == "said by the agent"


def test_overview_counts_each_project_and_every_container(operator, agent, fleet):
    assert operator.get(OVERVIEW).json()["total_containers"] == 0
    send(agent, "shop-1", container("shop-2", "exited"), "shop-api-1", "nobodys")
    send(operator, "shop-1", "nobodys", client_id="web-02")
    seen = operator.get(OVERVIEW).json()
    assert seen["total_containers"] == 6
    by_name = {one["project_name"]: one for one in seen["by_project"]}
    assert list(by_name) == ["shop", "shop-api", "store"]
    assert by_name["shop"] == {
        "project_id": fleet["shop"].id,
        "project_name": "shop",
        "prefix": "shop",
        "count": 3,
        "running": 2,
    }
    assert (by_name["shop-api"]["count"], by_name["store"]["count"]) == (1, 0)


def test_same_report_twice_is_one(served, agent):
    for body in (report("shop-1", report_id="r-1"), report("shop-2")):
        before = count(served)
        first, second = agent.post(REPORT, json=body), agent.post(REPORT, json=body)
        assert (first.status_code, second.status_code) == (202, 202)
        assert (first.json()["duplicate"], second.json()["duplicate"]) == (False, True)
        assert first.json()["report_id"] == second.json()["report_id"]
        assert count(served) == before + 1


def test_same_report_id_of_two_clients_is_two_reports(served, operator, agent):
    send(agent, "shop-1", report_id="r-1")
    assert send(operator, "shop-1", client_id="web-02", report_id="r-1")["duplicate"] is False
    assert count(served) == 2


def test_repeated_report_does_not_come_back_over_a_newer_one(operator, agent):
    old = report("shop-1", report_id="r-1", reported_at=now(minutes=-1))
    agent.post(REPORT, json=old)
    send(agent, "shop-2")
    assert agent.post(REPORT, json=old).json()["duplicate"] is True
    assert names_of(operator) == {"web-01": ["shop-2"]}


def test_older_report_is_kept_and_changes_nothing(served, operator, agent):
    send(agent, "shop-1")
    before = of_project(operator)
    assert send(agent, "shop-2", reported_at=now(minutes=-5))["newest"] is False
    assert (count(served), count(served, LatestContainerReport)) == (2, 1)
    assert of_project(operator) == before


def test_report_from_the_future_counts_as_made_when_it_was_received(served, operator, agent):
    assert send(agent, "shop-1", reported_at=now(days=1))["newest"] is True
    with served.database.read() as session:
        for table in (ContainerReportRow, LatestContainerReport):
            row = session.scalars(select(table)).one()
            assert row.reported_at == row.received_at
    assert send(agent, "shop-2")["newest"] is True
    assert names_of(operator) == {"web-01": ["shop-2"]}


def test_agent_may_report_only_as_itself(served, operator, agent):
    assert_problem(agent.post(REPORT, json=report("a", client_id="web-02")), 403, mentions="web-01")
    assert_problem(agent.post(REPORT, json=report("a", client_id="nobody")), 403)
    for path in ("/release/projects/shop/containers", OVERVIEW, REPORT):
        assert_problem(agent.get(path), 403)
    assert count(served) == 0


def test_viewer_may_look_and_not_report(served, fleet):
    viewer = served.viewer
    assert_problem(viewer.post(REPORT, json=report("a")), 403)
    assert viewer.get(OVERVIEW).status_code == 200
    assert viewer.get("/release/projects/shop/containers").status_code == 200
    assert_problem(served.client(None).post(REPORT, json=report("a")), 401)
    assert count(served) == 0


def test_report_for_an_unknown_client_is_404(served, operator, fleet):
    assert_problem(operator.post(REPORT, json=report("a", client_id="nobody")), 404)
    assert count(served) == 0


def test_deleted_client_takes_its_reports_along(served, operator, agent):
    send(agent, "shop-1")
    assert operator.delete("/release/clients/web-01").status_code == 204
    assert count(served) == count(served, LatestContainerReport) == 0
    assert of_project(operator)["clients"] == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"client_id": "../x"}, "client_id"),
        ({"reported_at": "2026-01-01T00:00:00"}, "reported_at"),
        ({"reported_at": None}, "reported_at"),
        ({"containers": None}, "containers"),
        ({"containers": [{}]}, "containers.0.container_id"),
        ({"docker_version": "x" * 101}, "docker_version"),
        ({"docker_version": "26\0"}, None),
        ({"report_id": "../x"}, "report_id"),
    ],
)
def test_invalid_report_is_refused(served, operator, fleet, fields, field):
    assert_problem(operator.post(REPORT, json=report("shop-1", **fields)), 422, field=field)
    assert count(served) == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"state": "happy"},
        {"cpu_percent": -1},
        {"cpu_percent": "NaN"},
        {"memory_usage": 2**70},
        {"restart_count": 2**40},
        {"created_at": "yesterday"},
        {"container_name": "a\0b"},
        {"container_name": "x" * 254},
        {"health": "fine"},
    ],
)
def test_invalid_container_is_refused(served, agent, fields):
    assert_problem(agent.post(REPORT, json=report(container("shop-1", **fields))), 422)
    assert count(served) == 0


def test_text_that_only_looks_like_a_nul_is_taken(operator, agent):
    send(agent, container("shop-1", status="literally \\u0000"))
    assert of_project(operator)["clients"][0]["containers"][0]["status"] == "literally \\u0000"


def test_ten_thousand_containers_are_taken_and_counted_in_bounded_time(served, operator, agent):
    body = json.dumps(report(*(f"shop-prod-{index}" for index in range(10_000)))).encode()
    assert 1024 * 1024 < len(body) < LIMIT
    began = time.monotonic()
    assert agent.post(REPORT, content=body).status_code == 202
    assert operator.get(OVERVIEW).json()["by_project"][0]["count"] == 10_000
    assert of_project(operator)["summary"]["total_containers"] == 10_000
    took_s = time.monotonic() - began
    assert took_s < BOUND_S
    assert count(served) == 1


def test_ten_thousand_containers_that_all_exited_are_alerts_in_bounded_time(served, operator, agent):
    names = [f"shop-prod-{index}" for index in range(10_000)]
    send(agent, *names)
    assert of_project(operator)["summary"]["running_count"] == 10_000
    began = time.monotonic()
    send(agent, *(container(name, "exited", exit_code=137) for name in names))
    summary = of_project(operator)["summary"]
    took_s = time.monotonic() - began
    assert (summary["running_count"], summary["stopped_count"]) == (0, 10_000)
    assert held_stops(served) == sorted(names)
    assert took_s < ALL_EXITED_BOUND_S


def held_stops(served):
    """Whose stop holds, be it that it waits a second or fires: once for each alert."""
    holds = select(Alert.subject).where(Alert.type == "container_stopped", Alert.holds)
    with served.database.read() as session:
        return sorted(session.scalars(holds))


def test_more_than_the_limits_is_refused(served, agent):
    assert_problem(agent.post(REPORT, content=b" " * (LIMIT + 1)), 413)
    assert_problem(agent.post(REPORT, json=report(*["a"] * 20_001)), 422, field="containers")
    assert count(served) == 0


def test_a_large_fleet_is_counted_in_bounded_time(served, operator, fleet):
    """1,000 clients with 50 containers each, 500 projects."""
    with served.database.write() as session:
        for number in range(498):
            create_container_project(session, f"shop-{number}")
        clients = [f"c-{number}" for number in range(1000)]
        session.execute(
            insert(Client),
            [
                {"client_id": name, "url": "https://x", "labels": {}, "report_token_sha256": sha256_hex(name)}
                for name in clients
            ],
        )
        inside = tuple(
            ContainerInfo.model_validate(container(f"shop-{number}-prod-1")) for number in range(50)
        )
        rows = [
            {"client_id": name, "containers": inside, "reported_at": NOW, "received_at": NOW}
            for name in clients
        ]
        session.execute(insert(LatestContainerReport), rows)
    began = time.monotonic()
    seen = operator.get(OVERVIEW).json()
    assert of_project(operator, "shop-7")["summary"]["total_clients"] == 1000
    assert time.monotonic() - began < BOUND_S
    assert seen["total_containers"] == 50_000
    assert {one["count"] for one in seen["by_project"]} == {0, 1000}


def test_report_that_was_cut_says_so(operator, agent):
    send(agent, "shop-1", truncated=True)
    assert of_project(operator)["clients"][0]["truncated"] is True
    send(agent, "shop-1")
    assert of_project(operator)["clients"][0]["truncated"] is False
