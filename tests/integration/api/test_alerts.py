"""Alerts over HTTP, on both databases: reports are judged as they come, and each alert is told once."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from agent.wire.containers import ContainerInfo
from agent.wire.processes import ProcessConfig, Rule
from db.documents.container_config import ContainerConfig
from db.documents.rollback import RollbackState
from db.models import Alert, Client, DeployResult, DeployTask, News, Project, Version
from db.queries.alerts import live_alerts
from db.secrets import sha256_hex
from tasks.alerting.changing import Look, Place, apply_observations, apply_time
from tasks.decisions.alerts import Timing
from tasks.decisions.observed import Observed
from tasks.planning import create_deploy_task
from tests.builders import NOW, create_container_project, create_fleet, upgrade_request
from tests.metrics import read_metrics
from tests.served_api import assert_problem

TOKEN = "the-report-token-of-web-01"
T0 = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def fleet(served):
    with served.database.write() as session:
        project, _ = create_fleet(session, {"web-01": "1.4"})
        create_container_project(session, "boxes")
        client = session.get(Client, "web-01")
        client.report_token_sha256, client.labels = sha256_hex(TOKEN), {"rack": "r7"}
        watch(session, collect_interval=60)
        return project


def watch(session, **fields):
    rules = (Rule(type="name", pattern="shop", name="shop"),)
    version = session.query(Version).filter_by(version="1.4").one()
    version.process_config = ProcessConfig(rules=rules, **fields)


@pytest.fixture
def agent(served, fleet):
    return served.client(TOKEN)


def at(**delta):
    return (datetime.now(UTC) + timedelta(**delta)).isoformat()


def process(pid=100, **fields):
    return {
        "pid": pid,
        "start_ticks": pid * 7,
        "is_root": True,
        "name": "shop",
        "start_time": "2030-01-01T00:00:00Z",
        "status": "sleeping",
        "matched_by": "shop",
        **fields,
    }


def say(agent, project, *processes, headers=None, **fields):
    body = {"client_id": "web-01", "project_id": project.id, "version": "1.4", "reported_at": at()}
    body |= {"processes": list(processes), **fields}
    body.setdefault("unmatched_rules", [] if processes else ["shop"])
    answer = agent.post("/release/process-report", json=body, headers=headers)
    assert answer.status_code == 202, answer.text


def alerts(operator, **query):
    return operator.get("/release/alerts", params=query).json()


def until(condition, timeout_s=30):
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.05)
    return found


def told(served):
    with served.database.read() as session:
        return [(row.event, row.title) for row in session.query(News).order_by(News.id)]


def waiting(served):
    with served.database.read() as session:
        return session.query(Alert).filter(Alert.fired_at.is_(None)).count()


def raised(served):
    """The types of all alerts that wait, fire or are over."""
    with served.database.read() as session:
        return [one.type for one in session.query(Alert)]


def test_exit_fires_after_a_second_and_resolves_when_it_is_back(operator, served, agent, fleet):
    say(agent, fleet, process())
    say(agent, fleet)
    [fired] = until(lambda: alerts(operator, status="firing", project_id="shop"))
    with served.database.read() as session:
        alert = session.query(Alert).one()
        assert alert.fired_at - alert.heard_at >= timedelta(seconds=1), "back within a second it is a restart"
    assert (fired["type"], fired["level"], fired["source"]) == ("process_exit", "critical", "process")
    assert (fired["client_id"], fired["project_id"]) == ("web-01", fleet.id)
    assert fired["title"] == "shop on web-01: process exit (shop)"
    assert fired["labels"] == {
        "rack": "r7",
        "project": "shop",
        "environment": "prod",
        "version": "1.4",
        "subject": "shop",
    }
    for _ in range(3):
        say(agent, fleet)
    say(agent, fleet, process(200))
    [resolved] = alerts(operator, status="resolved", client_id="web-01")
    assert resolved["id"] == fired["id"]
    assert alerts(operator, status="firing") == []
    assert told(served) == [("firing", fired["title"]), ("resolved", f"resolved: {fired['title']}")]


def test_report_and_time_that_change_an_alert_at_once_tell_of_it_once(served, fleet):
    """On PostgreSQL time passes over what a report has locked; on SQLite it waits for the report's transaction."""
    now = datetime.now(UTC)
    pair, due = ("web-01", fleet.id), now + timedelta(seconds=1.2)
    gone = [Observed("process_exit", "shop", True, Timing(for_s=1.0), "gone")]
    place = Place("web-01", project_id=fleet.id, project="shop")
    with served.database.write() as session:
        apply_observations(session, place, gone, (), Look(now, now))

    def fire_by_time():
        with served.database.write() as session:
            apply_time(session, due)

    with ThreadPoolExecutor(1) as pool:
        with served.database.write() as session:
            live = live_alerts(session, [pair], ["process_exit"])
            other = pool.submit(fire_by_time)
            time.sleep(0.5)
            apply_observations(session, place, gone, live, Look(due, due))
        other.result(30)
    assert [event for event, _ in told(served)] == ["firing"]


def test_restart_of_a_client_whose_clock_is_behind_is_no_exit(operator, served, agent, fleet):
    say(agent, fleet, process(), reported_at=at(seconds=-8))
    say(agent, fleet, reported_at=at(seconds=-6))
    say(agent, fleet, process(200), reported_at=at(seconds=-5.5))
    assert [title for _, title in told(served)] == ["shop on web-01: process restart (shop)"]


def test_rule_that_the_agent_does_not_know_yet_is_not_judged(operator, served, agent, fleet):
    with served.database.write() as session:
        watch(session)
        version = session.query(Version).filter_by(version="1.4").one()
        rules = (*version.process_config.rules, Rule(type="name", pattern="web", name="web"))
        version.process_config = ProcessConfig(rules=rules)
    say(agent, fleet, process())
    assert waiting(served) == 0
    say(agent, fleet, process(), unmatched_rules=["web"])
    assert waiting(served) == 1


def test_back_within_a_second_is_one_restart_and_no_exit(operator, served, agent, fleet):
    say(agent, fleet, process())
    say(agent, fleet)
    say(agent, fleet, process(200))
    [fired] = alerts(operator)
    assert fired["type"] == "process_restart"
    say(agent, fleet, process(200))
    assert [one["type"] for one in alerts(operator, status="firing")] == ["process_restart"]
    assert waiting(served) == 0
    assert len(told(served)) == 1


@pytest.mark.parametrize(
    ("task_status", "result_status", "going_back"),
    [
        ("running", "running", False),
        ("paused", "running", False),
        ("cancelled", "running", False),
        ("running", "failed", True),
        ("rolling_back", "success", True),
    ],
)
def test_what_a_deploy_task_does_is_no_alert_and_what_it_leaves_is(
    operator, served, agent, fleet, task_status, result_status, going_back
):
    say(agent, fleet, process(), release_id="old")
    now = datetime.now(UTC)
    back = RollbackState(status="running", execution_id="e", to_version="1.4", started_at=now)
    with served.database.write() as session:
        task = create_deploy_task(session, upgrade_request(fleet), now=NOW, who="ann")
        task.status = task_status
        result = session.query(DeployResult).one()
        result.status, result.started_at, result.rollback = result_status, now, back if going_back else None
    say(agent, fleet, release_id="old")
    say(agent, fleet, process(200), release_id="old")
    say(agent, fleet, release_id="old")
    assert waiting(served) == 0
    with served.database.write() as session:
        result = session.query(DeployResult).one()
        result.status, result.finished_at, result.rollback = "failed", datetime.now(UTC), None
        session.query(DeployTask).one().status = "failed"
    say(agent, fleet, release_id=task.id)
    [fired] = until(lambda: alerts(operator, status="firing"))
    assert fired["type"] == "process_exit"
    assert fired["labels"]["deploy_task"] == task.id
    assert f"last deployed: 1.5, by deploy task {task.id}" in fired["message"]


@pytest.mark.parametrize("going_back", [False, True])
def test_what_a_deployment_did_is_no_alert_when_it_is_told_after_its_end(
    operator, served, agent, fleet, going_back
):
    """The release API was away for most of it: the reports come out of the spool."""
    say(agent, fleet, process(), release_id="old", reported_at=at(seconds=-100))
    now = datetime.now(UTC)
    began, ended = now - timedelta(seconds=90), now - timedelta(seconds=30)
    with served.database.write() as session:
        task = create_deploy_task(session, upgrade_request(fleet), now=NOW, who="ann")
        task.status, result = "completed", session.query(DeployResult).one()
        result.status, result.started_at, result.finished_at = "success", began, ended
        if going_back:
            result.started_at, result.finished_at = began - timedelta(hours=1), began - timedelta(minutes=50)
            result.rollback = RollbackState(
                status="success", execution_id="e", to_version="1.4", started_at=began, finished_at=ended
            )
    say(agent, fleet, release_id="old", reported_at=at(seconds=-60))
    say(agent, fleet, process(200), release_id="old", reported_at=at(seconds=-59))
    assert raised(served) == []
    say(agent, fleet, process(300), release_id="old", reported_at=at(seconds=-20))
    assert [one["type"] for one in alerts(operator)] == ["process_restart"], "after its end it is one"


def test_report_of_another_version_s_rules_tells_nothing(operator, served, agent, fleet):
    """The monitor could not be put right yet: the rule `shop` looks for something else there."""
    with served.database.write() as session:
        watch(session, alert_on_high_cpu=50, alert_for_s=0)
    say(agent, fleet, process())
    say(agent, fleet, process(cpu_percent=99), version="1.3")
    say(agent, fleet, version="1.3")
    say(agent, fleet, process(200), version="1.3")
    assert raised(served) == []
    say(agent, fleet)
    assert until(lambda: alerts(operator, status="firing"))[0]["type"] == "process_exit"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"status": "unreachable", "ran": False}, None),
        ({"status": "failed", "ran": True}, "1.5"),
        ({"status": "rolled_back", "ran": True}, "1.4"),
    ],
)
def test_alert_names_what_was_deployed_there_last(operator, served, agent, fleet, fields, expected):
    say(agent, fleet, process())
    now = datetime.now(UTC) - timedelta(minutes=5)
    with served.database.write() as session:
        create_deploy_task(session, upgrade_request(fleet), now=NOW, who="ann").status = "failed"
        result = session.query(DeployResult).one()
        result.status, result.ran, result.started_at, result.finished_at = *fields.values(), now, now
        if fields["status"] == "rolled_back":
            result.rollback = RollbackState(
                status="success", execution_id="e", to_version="1.4", started_at=now, finished_at=now
            )
    say(agent, fleet)
    [fired] = until(lambda: alerts(operator, status="firing"))
    assert fired["labels"].get("deployed_version") == expected
    assert ("last deployed" in fired["message"]) == (expected is not None)


def test_restart_is_over_by_itself(operator, served, agent, fleet):
    say(agent, fleet, process())
    say(agent, fleet, process(200))
    say(agent, fleet, process(300))
    assert [one["type"] for one in alerts(operator, status="firing")] == ["process_restart"]
    with served.database.write() as session:
        alert = session.query(Alert).one()
        assert alert.due_at == alert.held_at + timedelta(minutes=5), "after the last one"
        apply_time(session, alert.due_at)
    assert alerts(operator, status="firing") == []


def test_new_processes_of_another_deploy_task_are_no_restart(operator, served, agent, fleet):
    say(agent, fleet, process(), release_id="one")
    say(agent, fleet, process(200), release_id="two")
    assert waiting(served) == 0
    assert alerts(operator) == []


def test_reused_pid_is_another_process(operator, agent, fleet):
    say(agent, fleet, process())
    say(agent, fleet, process(start_ticks=9_999))
    assert [one["type"] for one in alerts(operator)] == ["process_restart"]


def test_load_is_an_alert_once_it_has_lasted(operator, served, agent, fleet):
    with served.database.write() as session:
        watch(session, alert_on_high_cpu=50, alert_on_high_mem=10, alert_for_s=0)
    say(agent, fleet, process(cpu_percent=80.0, memory_pct=1.0))
    [fired] = alerts(operator)
    assert (fired["type"], fired["value"], fired["threshold"]) == ("process_cpu_high", 80.0, 50.0)
    with served.database.write() as session:
        watch(session, alert_on_high_cpu=50, alert_on_high_mem=10)
    say(agent, fleet, process(cpu_percent=1.0, memory_pct=20.0))
    say(agent, fleet, process(cpu_percent=None, memory_pct=None))
    assert alerts(operator, status="firing")[0]["type"] == "process_cpu_high", "kept for a minute"
    assert waiting(served) == 1, "five minutes, unless told otherwise"


def test_load_of_a_process_that_is_gone_is_over(operator, served, agent, fleet):
    with served.database.write() as session:
        watch(session, alert_on_exit=False, alert_on_high_cpu=50, alert_on_high_mem=50, alert_for_s=0)
    say(agent, fleet, process(cpu_percent=80.0, memory_pct=60.0))
    assert [one["status"] for one in alerts(operator)] == ["firing", "firing"]
    say(agent, fleet, unmatched_rules=[])
    assert [one["status"] for one in alerts(operator)] == ["firing", "firing"], "it was not looked for"
    say(agent, fleet)
    assert [one["status"] for one in alerts(operator)] == ["resolved", "resolved"]


def test_limit_that_is_taken_away_ends_its_alert(operator, served, agent, fleet):
    with served.database.write() as session:
        watch(session, alert_on_high_cpu=50, alert_for_s=0)
    say(agent, fleet, process(cpu_percent=80.0))
    with served.database.write() as session:
        watch(session)
    say(agent, fleet, process(cpu_percent=80.0))
    assert [one["status"] for one in alerts(operator)] == ["resolved"]


def test_late_repeated_and_future_reports_raise_no_false_alert(operator, served, agent, fleet):
    say(agent, fleet, process(), report_id="one")
    say(agent, fleet, reported_at=at(seconds=-30))  # older than the newest
    say(agent, fleet, reported_at=at(hours=-1))
    say(agent, fleet, process(), report_id="one")
    say(agent, fleet, process(), reported_at=at(hours=5))  # a clock that is ahead
    assert waiting(served) == 0
    say(agent, fleet)
    assert until(lambda: alerts(operator, status="firing"))[0]["type"] == "process_exit"


@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "once"}])
@pytest.mark.parametrize("off_s", [-3600, 3600])
def test_client_whose_clock_is_off_is_judged_by_its_reports_age(operator, served, agent, fleet, off_s, key):
    def clock(ago_s=0.0):
        return datetime.now(UTC) + timedelta(seconds=off_s - ago_s)

    def heard(ago_s, *processes, **headers):
        headers["Date"] = format_datetime(clock(), usegmt=True)
        say(agent, fleet, *processes, headers=headers, reported_at=clock(ago_s).isoformat())

    heard(600)  # out of its spool: history
    heard(500, process())
    assert raised(served) == []
    heard(40, process())
    heard(30, **key)
    heard(29.5, process(200))
    assert raised(served) == ["process_restart"]
    heard(0)
    until(lambda: "process_exit" in {one["type"] for one in alerts(operator, status="firing")})
    found = read_metrics(served.viewer)
    assert found["hoist_reports_clock_off_total", "process"] == 6


def test_spooled_history_is_not_judged(operator, served, agent, fleet):
    say(agent, fleet, reported_at=at(hours=-2))
    say(agent, fleet, process(), reported_at=at(hours=-1))
    assert waiting(served) == 0
    assert alerts(operator) == []


def container(name, container_id, state="running", **fields):
    base = {"container_id": container_id * 64, "container_name": name, "image": "boxes:1", "status": "Up"}
    times = {"created_at": "2030-01-01T00:00:00Z", "started_at": "2030-01-01T00:00:00Z"}
    return ContainerInfo.model_validate({**base, **times, "state": state, **fields}).model_dump(mode="json")


def boxes(agent, *containers):
    body = {"client_id": "web-01", "containers": list(containers), "reported_at": at()}
    answer = agent.post("/release/container-report", json=body)
    assert answer.status_code == 202, answer.text


def test_stopped_container_fires_and_resolves_and_other_people_s_do_not(operator, served, agent, fleet):
    boxes(
        agent, container("boxes-prod-1", "a"), container("else", "b"), container("boxes-old", "c", "exited")
    )
    boxes(
        agent, container("boxes-prod-1", "a", "exited", exit_code=137), container("boxes-old", "c", "exited")
    )
    [fired] = until(lambda: alerts(operator, status="firing"))
    assert (fired["type"], fired["labels"]["subject"]) == ("container_stopped", "boxes-prod-1")
    assert "exited (137)" in fired["message"]
    boxes(agent, container("boxes-prod-1", "a"))
    assert [one["status"] for one in alerts(operator)] == ["resolved"]


def test_container_s_restart_ill_health_and_load(operator, served, agent, fleet):
    with served.database.write() as session:
        config = ContainerConfig(alert_on_high_cpu=50, alert_on_high_mem=50, alert_for_s=0)
        session.query(Project).filter_by(name="boxes").one().container_config = config
    boxes(agent, container("boxes-1", "a", restart_count=0))
    loads = {"cpu_percent": 90.0, "memory_percent": 70.0, "health": "unhealthy"}
    boxes(agent, container("boxes-1", "a", restart_count=1, started_at="2030-01-01T01:00:00Z", **loads))
    assert sorted(one["type"] for one in alerts(operator, status="firing")) == [
        "container_cpu_high",
        "container_memory_high",
        "container_restarted",
        "container_unhealthy",
    ]
    boxes(agent, container("boxes-2", "b"))
    until(lambda: "container_stopped" in {one["type"] for one in alerts(operator, status="firing")})


def test_replaced_container_is_not_missed(operator, served, agent, fleet):
    mine = {"project_id": "boxes", "client_id": "web-01"}
    boxes(agent, container("boxes-1", "a", **mine))
    boxes(agent, container("boxes-2", "b", **mine), container("boxes-1", "a", "exited", **mine))
    assert waiting(served) == 0


def silence(operator, **fields):
    body = {
        "matchers": [{"name": "rack", "value": "r[0-9]", "is_regex": True}],
        "ends_at": at(hours=1),
        "created_by": "ann",
        "comment": "moving the rack",
    }
    return operator.post("/release/silences", json={**body, **fields})


def test_silence_is_shown_and_ends(operator, served, agent, fleet):
    made = silence(operator)
    assert made.status_code == 201, made.text
    assert made.json()["who"] == "operator"
    say(agent, fleet)
    [fired] = until(lambda: alerts(operator, status="firing"))
    assert fired["silenced"] is True
    assert [one["id"] for one in operator.get("/release/silences").json()] == [made.json()["id"]]
    assert operator.delete(f"/release/silences/{made.json()['id']}").status_code == 204
    assert alerts(operator)[0]["silenced"] is False
    assert_problem(operator.delete(f"/release/silences/{made.json()['id']}"), 404)
    actions = [one["action"] for one in operator.get("/release/audit").json()]
    assert {"silence.create", "silence.delete"} <= set(actions)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"matchers": []}, "matchers"),
        ({"matchers": [{"name": "type", "value": "(", "is_regex": True}]}, "matchers"),
        ({"matchers": [{"name": "type", "value": r"(a)\1", "is_regex": True}]}, "matchers"),
        ({"matchers": [{"name": "type", "value": "x" * 201}]}, "matchers"),
        ({"ends_at": "2020-01-01T00:00:00Z"}, "ends_at"),
        ({"starts_at": "2999-01-01T00:00:00Z"}, "ends_at"),
        ({"comment": ""}, "comment"),
        ({"surplus": 1}, "surplus"),
    ],
)
def test_bad_silence_is_refused(operator, served, fields, field):
    problem = assert_problem(silence(operator, **fields), 422)
    assert any(one["field"].startswith(field) for one in problem["errors"]), problem
    assert operator.get("/release/silences").json() == []


def test_regular_expression_is_read_in_linear_time(operator, served, agent, fleet):
    """What makes a backtracking engine think for ages is nothing to RE2."""
    nested = [{"name": "subject", "value": "(s+h*)+$" * 20, "is_regex": True}]
    assert silence(operator, matchers=nested).status_code == 201
    with served.database.write() as session:
        rules = (Rule(type="name", pattern="shop", name="s" * 90 + "!"),)
        session.query(Version).filter_by(version="1.4").one().process_config = ProcessConfig(rules=rules)
    say(agent, fleet, unmatched_rules=["s" * 90 + "!"])
    began = time.monotonic()
    assert until(lambda: alerts(operator, status="firing"))[0]["silenced"] is False
    assert time.monotonic() - began < 20
