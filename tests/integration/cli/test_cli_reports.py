"""`hoist processes`, `containers`, `alerts`: over what agents really send."""

from datetime import UTC, datetime

import pytest

from agent.wire.processes import ProcessConfig, Rule
from db.models import Alert
from tests.builders import NOW, create_container_project, create_fleet, create_version


def process(**fields):
    return {
        "pid": 7,
        "name": "shop",
        "cmdline": "shop --serve",
        "start_time": "2030-01-01T00:00:00Z",
        "status": "sleeping",
        "cpu_percent": 12.34,
        "memory_mb": 56.0,
        "memory_pct": 1.0,
        "matched_by": "web",
        **fields,
    }


def container(name, state):
    return {
        "container_id": f"id-{name}",
        "container_name": name,
        "image": "box:1",
        "status": "Up",
        "state": state,
        "created_at": "2030-01-01T00:00:00Z",
        "started_at": "2030-01-01T00:00:00Z",
        "cpu_percent": 1.0,
        "memory_usage": 3 * 2**20,
        "memory_limit": None,
        "memory_percent": None,
        "network_rx": None,
        "network_tx": None,
    }


@pytest.fixture
def fleet(served):
    with served.database.write() as session:
        create_container_project(session, "box")
        installed = {"web-1": "1.4", "web-2": "1.4", "web-3": "1.4"}
        project, _ = create_fleet(session, installed, versions=())
        rule = Rule(type="port", pattern="8080", name="web")
        create_version(session, project, process_config=ProcessConfig(rules=(rule,)))
        return project.id


def report(operator, kind, **fields):
    body = {"reported_at": datetime.now(UTC).isoformat(), **fields}
    assert operator.post(f"/release/{kind}-report", json=body).status_code == 202


def test_processes_show_health_and_what_is_missing(hoist, operator, fleet):
    common = {"project_id": fleet, "version": "1.4"}
    report(operator, "process", client_id="web-1", processes=[process()], **common)
    report(operator, "process", client_id="web-2", processes=[], unmatched_rules=["web"], **common)
    rows = hoist("processes", "shop").lines
    assert rows[0][:8] == ["client", "version", "health", "rule", "pid", "process", "state", "CPU %"]
    assert rows[1][:9] == ["web-1", "1.4", "healthy", "web", "7", "shop", "sleeping", "12.3", "56.0"]
    assert rows[2][:6] == ["web-2", "1.4", "unhealthy", "web", "–", "no process"]
    assert rows[3][:6] == ["web-3", "1.4", "unknown", "–", "–", "no report"]
    assert (
        hoist("processes", "shop", "--json").json == operator.get("/release/projects/shop/processes").json()
    )
    assert "(404)" in hoist("processes", "nope", code=3).err


def test_what_a_host_calls_its_process_steers_no_terminal(hoist, operator, fleet):
    evil = "sh\x1b]0;owned\x07op\x1b[2J\u202e[red]"
    processes = [process(name=evil)]
    report(operator, "process", client_id="web-1", project_id=fleet, version="1.4", processes=processes)
    ended = hoist("processes", "shop")
    assert "sh]0;ownedop[2J[red]" in ended.out
    assert not set(ended.out) & {"\x1b", "\x07", "\u202e"}
    raw = hoist("processes", "shop", "--json")
    assert "\x1b" not in raw.out
    assert raw.json["clients"][0]["processes"][0]["name"] == evil


def test_containers_of_a_project_and_of_the_fleet(hoist, operator, fleet):
    found = [
        container("box-prod-1", "running"),
        container("box-prod-2", "exited"),
        container("db", "running"),
    ]
    report(operator, "container", client_id="web-1", docker_version="28.0", containers=found)
    ended = hoist("containers", "box")
    assert ended.lines[1][:4] == ["web-1", "box-prod-1", "box:1", "running"]
    assert "3.0 MiB" in ended.lines[1]
    assert ended.out.splitlines()[-1] == "2 containers on 1 clients, 1 running, 1 stopped"
    assert hoist("containers", "box", "--json").json["summary"]["total_containers"] == 2
    overview = hoist("containers")
    assert overview.lines[1] == ["box", "box", "2", "1"]
    assert overview.out.splitlines()[-1] == "3 containers on the whole fleet"
    assert hoist("containers", "--json").json["total_containers"] == 3


@pytest.fixture
def alerts(served, fleet):
    """One that fires on web-1, and one that is over on web-2."""
    with served.database.write() as session:
        for number, client, ended in ((1, "web-1", None), (2, "web-2", NOW)):
            session.add(
                Alert(
                    type="process_exit",
                    level="critical",
                    source="process",
                    client_id=client,
                    project_id=fleet,
                    title=f"web of shop exited on {client}",
                    message="it is gone",
                    labels={"subject": "web"},
                    fingerprint=f"f{number}",
                    subject="web",
                    since=NOW,
                    held_at=NOW,
                    seen_at=NOW,
                    holds=ended is None,
                    for_s=0,
                    keep_firing_s=0,
                    stale_after_s=0,
                    fired_at=NOW,
                    resolved_at=ended,
                )
            )


def test_alerts_that_fire_and_all(hoist, alerts):
    (row,) = hoist("alerts").lines[1:]
    assert row[:5] == ["2030-01-02 03:04:05Z", "critical", "firing", "web-1", "process_exit"]
    assert len(hoist("alerts", "--status", "all", "--json").json) == 2
    assert len(hoist("alerts", "--status", "all", "--limit", "1", "--json").json) == 1
    (resolved,) = hoist("alerts", "--status", "resolved", "--project", "shop", "--json").json
    assert resolved["client_id"] == "web-2"
    assert hoist("alerts", "--client", "web-2").out == "no such alert\n"
    assert "(404)" in hoist("alerts", "--project", "nope", code=3).err
    hoist("alerts", "--limit", "0", code=2)


def test_drift_leaves_out_what_matches_and_is_repaired(hoist, operator, fleet):
    common = {"project_id": fleet, "version": "1.4"}
    report(operator, "process", client_id="web-1", processes=[process()], observed_version="1.4", **common)
    report(operator, "process", client_id="web-2", processes=[], unmatched_rules=["web"], **common)
    rows = hoist("drift", "shop").lines
    assert rows[0] == ["client", "environment", "drift", "recorded", "observed", "seen"]
    assert [row[:4] for row in rows[1:]] == [
        ["web-2", "prod", "missing", "1.4"],
        ["web-3", "prod", "unknown", "1.4"],
    ]
    made = hoist("drift", "shop", "--repair", "--json").json
    (task_id,) = made["deploy_task_ids"]
    assert operator.get(f"/release/tasks/{task_id}").json()["client_ids"] == ["web-2"]
    assert "repairs it: hoist start" in hoist("drift", "shop", "--repair").out
