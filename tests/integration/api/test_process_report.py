"""TEST-007: process reports over HTTP, on both databases."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from sqlalchemy import func, select, update

from agent.wire.processes import ProcessConfig, Rule
from db.models import Client, LatestProcessReport, ProcessReportRow, Version
from db.secrets import sha256_hex
from tests.builders import create_fleet
from tests.served_api import assert_problem

REPORT = "/release/process-report"
TOKEN = "the-report-token-of-web-01"


@pytest.fixture
def fleet(served):
    with served.database.write() as session:
        project, _ = create_fleet(session, {"web-01": "1.4", "web-02": "1.4"})
        session.get(Client, "web-01").report_token_sha256 = sha256_hex(TOKEN)
        rules = (Rule(type="name", pattern="shop", name="shop"), Rule(type="port", pattern="80", name="http"))
        version = session.query(Version).filter_by(version="1.4").one()
        version.process_config = ProcessConfig(rules=rules, collect_interval=10)
        return project


@pytest.fixture
def agent(served, fleet):
    return served.client(TOKEN)


def now(**delta):
    return (datetime.now(UTC) + timedelta(**delta)).isoformat()


def process(rule="shop", pid=100, **fields):
    base = {"pid": pid, "name": "shop", "start_time": now(hours=-1), "status": "sleeping", "matched_by": rule}
    return {**base, **fields}


def report(project, *processes, **fields):
    body = {"client_id": "web-01", "project_id": project.id, "version": "1.4", "reported_at": now()}
    return {**body, "processes": list(processes), **fields}


def status_of(operator, client_id="web-01"):
    answer = operator.get("/release/projects/shop/processes")
    assert answer.status_code == 200, answer.text
    return next(one for one in answer.json()["clients"] if one["client_id"] == client_id)


def count(served, table=ProcessReportRow):
    with served.database.read() as session:
        return session.scalar(select(func.count()).select_from(table))


def test_accepted_report_is_committed_and_shown(served, operator, agent, fleet):
    both = [process(cpu_percent=1.5, memory_mb=20), process("http", ports=[80])]
    answer = agent.post(REPORT, json=report(fleet, *both, observed_version="1.4.0", future_field=1))
    assert answer.status_code == 202, answer.text
    assert count(served) == 1
    seen = status_of(operator)
    assert seen["status"] == "healthy"
    assert seen["version"] == "1.4"
    assert [one["matched_by"] for one in seen["processes"]] == ["shop", "http"]
    assert seen["processes"][0]["cpu_percent"] == 1.5
    assert seen["last_report"] is not None
    installation = operator.get("/release/projects/shop/installations").json()[0]
    assert installation["observed_version"] == "1.4.0"


def test_every_installation_is_listed_reported_or_not(operator, agent, fleet):
    silent = status_of(operator, "web-02")
    assert (silent["status"], silent["processes"], silent["last_report"]) == ("unknown", [], None)


def test_missing_rule_or_zombie_is_unhealthy(operator, agent, fleet):
    agent.post(REPORT, json=report(fleet, process()))
    assert status_of(operator)["status"] == "unhealthy"
    agent.post(REPORT, json=report(fleet, process(), process("http", status="zombie")))
    assert status_of(operator)["status"] == "unhealthy"
    agent.post(REPORT, json=report(fleet, unmatched_rules=["shop", "http"]))
    assert status_of(operator)["status"] == "unhealthy"
    assert status_of(operator)["unmatched_rules"] == ["shop", "http"]
    agent.post(REPORT, json=report(fleet, process(), process("http")))
    assert status_of(operator)["status"] == "healthy"


def test_nothing_received_for_three_intervals_is_unknown(served, operator, agent, fleet):
    agent.post(REPORT, json=report(fleet, process(), process("http")))
    for age_s, status in ((25, "healthy"), (31, "unknown")):
        with served.database.write() as session:
            received = datetime.now(UTC) - timedelta(seconds=age_s)
            session.execute(update(LatestProcessReport).values(received_at=received))
        assert status_of(operator)["status"] == status


def test_same_report_twice_is_one(served, agent, fleet):
    body = report(fleet, process(), report_id="r-1")
    first, second = agent.post(REPORT, json=body), agent.post(REPORT, json=body)
    assert (first.status_code, second.status_code) == (202, 202)
    assert (first.json()["duplicate"], second.json()["duplicate"]) == (False, True)
    assert count(served) == 1


def test_same_report_without_an_id_is_one(served, agent, fleet):
    body = report(fleet, process())
    assert (
        agent.post(REPORT, json=body).json()["report_id"] == agent.post(REPORT, json=body).json()["report_id"]
    )
    assert count(served) == 1
    assert agent.post(REPORT, json={**body, "reported_at": now(seconds=1)}).status_code == 202
    assert count(served) == 2


def test_older_report_is_kept_and_changes_nothing(served, operator, agent, fleet):
    newest = report(fleet, process(), process("http"))
    agent.post(REPORT, json=newest)
    before = status_of(operator)
    late = agent.post(REPORT, json=report(fleet, reported_at=now(minutes=-5)))
    assert late.status_code == 202
    assert late.json()["newest"] is False
    assert count(served) == 2
    assert count(served, LatestProcessReport) == 1
    assert status_of(operator) == before


def test_agent_may_report_only_as_itself(served, agent, fleet):
    answer = agent.post(REPORT, json=report(fleet, client_id="web-02"))
    assert_problem(answer, 403, mentions="web-01")
    assert count(served) == 0


def test_agent_may_report_only_for_projects_it_is_a_target_of(served, operator, agent, fleet):
    other = operator.post("/release/projects", json={"name": "other", "type": "script"}).json()
    assert_problem(agent.post(REPORT, json=report(fleet, project_id=other["id"])), 403)
    assert_problem(agent.post(REPORT, json=report(fleet, project_id="nope")), 404)
    assert count(served) == 0


def test_agent_may_do_nothing_else(agent, fleet):
    for method, path in (
        ("GET", "/release/projects"),
        ("GET", "/release/projects/shop/processes"),
        ("POST", "/release/projects"),
        ("GET", REPORT),
        ("PATCH", "/release/clients/web-01"),
        ("POST", "/release/clients/web-01/rotate"),
        ("GET", "/metrics"),
    ):
        assert_problem(agent.request(method, path), 403)


def test_viewer_may_not_report(served, fleet):
    assert_problem(served.viewer.post(REPORT, json=report(fleet)), 403)


def test_report_from_the_future_counts_as_made_when_it_was_received(served, operator, agent, fleet):
    ahead = agent.post(REPORT, json=report(fleet, process(), reported_at=now(days=1)))
    assert (ahead.status_code, ahead.json()["newest"]) == (202, True)
    with served.database.read() as session:
        for table in (ProcessReportRow, LatestProcessReport):
            row = session.query(table).one()
            assert row.reported_at == row.received_at
    assert datetime.fromisoformat(status_of(operator)["last_report"]) <= datetime.now(UTC)


def test_clock_that_was_set_right_is_heard_again(operator, agent, fleet):
    agent.post(REPORT, json=report(fleet, process(), reported_at=now(days=1)))
    right = agent.post(REPORT, json=report(fleet, process(), process("http")))
    assert right.json()["newest"] is True
    assert status_of(operator)["status"] == "healthy"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"reported_at": "2026-01-01T00:00:00"}, "reported_at"),
        ({"reported_at": "0001-01-01T00:00:00+14:00"}, None),
        ({"version": ""}, "version"),
        ({"processes": None}, "processes"),
        ({"processes": [{}]}, "processes.0.pid"),
        ({"unmatched_rules": ["x" * 101]}, "unmatched_rules.0"),
        ({"report_id": "../x"}, "report_id"),
    ],
)
def test_invalid_report_is_refused(served, agent, fleet, fields, field):
    assert_problem(agent.post(REPORT, json=report(fleet, **fields)), 422, field=field)
    assert count(served) == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"cpu_percent": "NaN"},
        {"pid": 0},
        {"pid": 2**70},
        {"start_ticks": 2**70},
        {"ppid": -(2**70)},
        {"ports": [80, 2**70]},
        {"start_time": "0001-01-01T00:00:00+02:00"},
        {"cmdline": "a\0b"},
        {"name": "x" * 5000},
    ],
)
def test_invalid_process_is_refused(served, agent, fleet, fields):
    assert_problem(agent.post(REPORT, json=report(fleet, process(**fields))), 422)
    assert count(served) == 0


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("2030-01-01T02:00:00.5+02:00", "2030-01-01T00:00:00.500000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
    ],
)
def test_times_are_shown_in_utc_and_are_the_same_said_otherwise(operator, agent, fleet, said, shown):
    made = report(fleet, process(start_time=said))
    first = agent.post(REPORT, json=made)
    assert first.status_code == 202, first.text
    again = agent.post(REPORT, json=made, headers={"Idempotency-Key": "k"})
    in_utc = agent.post(REPORT, json={**made, "processes": [{**made["processes"][0], "start_time": shown}]})
    assert [one.json()["duplicate"] for one in (first, again, in_utc)] == [False, True, True]
    assert status_of(operator)["processes"][0]["start_time"] == shown


def test_first_of_two_dates_counts(operator, agent, fleet):
    two = [
        ("Date", format_datetime(datetime.now(UTC) + timedelta(hours=hours), usegmt=True))
        for hours in (0, -9)
    ]
    for key in ([], [("Idempotency-Key", "k")]):
        made = report(fleet, process())
        assert agent.post(REPORT, json=made, headers=two + key).status_code == 202
        assert datetime.fromisoformat(status_of(operator)["last_report"]) == datetime.fromisoformat(
            made["reported_at"]
        )


def test_reports_may_be_larger_than_other_bodies_up_to_a_limit(served, agent, fleet):
    large = [process(pid=number + 1, cmdline="x" * 4000) for number in range(300)]
    assert agent.post(REPORT, json=report(fleet, *large)).status_code == 202
    assert_problem(agent.post(REPORT, content=b" " * (8 * 1024 * 1024 + 1)), 413)
    assert count(served) == 1
