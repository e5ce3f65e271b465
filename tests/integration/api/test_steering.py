"""What is said to a deploy task over HTTP: approve, pause, resume, promote, roll back; and freezes."""

import threading
import time
from datetime import timedelta

import pytest

from api.housekeeping import _start_due as start_due
from db.documents.hold import HoldState
from db.models import DeployResult, DeployTask, Environment, Installation, Version, utc_now
from tasks.planning.lease import acquire_leases
from tests.builders import create_fleet
from tests.served_api import assert_problem

UPGRADE = {"project_id": "shop", "version": "1.5", "operation": "update", "auto_select_clients": True}
FREEZES = "/release/freezes"


@pytest.fixture
def fleet(served):
    with served.database.write() as session:
        return create_fleet(session, {"a": "1.4", "b": "1.4"})


@pytest.fixture
def task(operator, fleet):
    answer = operator.post("/release/tasks", json=UPGRADE)
    assert answer.status_code == 201, answer.text
    return answer.json()


def say(operator, task, verb, **body):
    return operator.post(f"/release/tasks/{task['id']}/{verb}", json=body or None)


def seen(operator, task):
    return operator.get(f"/release/tasks/{task['id']}").json()


def run_and_wait(served, task, kind, wave=1):
    """A run holds the lease and waits for this."""
    with served.database.write() as session:
        row = session.get_one(DeployTask, task["id"])
        acquire_leases(session, row, "run-1", utc_now())
        row.status = "canary" if kind == "canary" else "paused"
        row.hold = HoldState(kind=kind, wave=wave, reason=f"waits for {kind}", since=utc_now())


def actions(operator):
    return [one["action"] for one in operator.get("/release/audit").json()]


def test_promotion_ends_the_hold_and_is_in_the_trail(operator, served, task):
    run_and_wait(served, task, "canary")
    assert seen(operator, task)["hold"]["kind"] == "canary"
    answer = say(operator, task, "promote", comment="fine")
    assert answer.status_code == 202, answer.text
    assert (answer.json()["hold"], answer.json()["promoted_waves"]) == (None, 1)
    entry = operator.get("/release/audit").json()[0]
    assert (entry["who"], entry["action"], entry["detail"]["comment"]) == (
        "operator",
        "deploy_task.promote",
        "fine",
    )


@pytest.mark.parametrize(
    ("kind", "verb", "wanted"),
    [
        ("canary", "resume", "promote it"),
        ("wave", "resume", "promote it"),
        ("failures", "promote", "resume it"),
        ("operator", "promote", "resume it"),
        ("approval", "promote", "approved"),
        ("freeze", "resume", "lifted"),
        ("window", "resume", "window is closed"),
        ("schedule", "promote", "has not come"),
    ],
)
def test_wrong_word_is_refused_and_says_which_is_right(operator, served, task, kind, verb, wanted):
    run_and_wait(served, task, kind)
    before = seen(operator, task)
    assert_problem(say(operator, task, verb), 409, mentions=wanted)
    assert seen(operator, task) == before


def test_nothing_to_promote_or_to_resume(operator, task):
    assert_problem(say(operator, task, "promote"), 409, mentions="waits for no promotion")
    assert_problem(say(operator, task, "resume"), 409, mentions="not paused")
    assert_problem(say(operator, task, "approve"), 409, mentions="asks for no approval")
    assert_problem(say(operator, task, "rollback"), 422, mentions="no client")


def test_pause_and_resume_of_a_run(operator, served, task):
    run_and_wait(served, task, "operator")
    assert say(operator, task, "pause").json()["paused_by"] == "operator"
    resumed = say(operator, task, "resume").json()
    assert (resumed["paused_by"], resumed["hold"]) == (None, None)
    assert actions(operator)[:2] == ["deploy_task.resume", "deploy_task.pause"]


def test_resume_where_the_run_is_gone_needs_prefect_and_changes_nothing_without_it(operator, served, task):
    with served.database.write() as session:
        session.get_one(DeployTask, task["id"]).status = "paused"
    before = seen(operator, task)
    assert_problem(say(operator, task, "resume"), 503, mentions="Prefect")
    assert seen(operator, task) == before


def test_resume_starts_no_deploy_task_that_never_was_started(operator, task):
    """Nor does it need Prefect: there is nothing to begin."""
    assert say(operator, task, "pause").status_code == 202
    resumed = say(operator, task, "resume")
    assert resumed.status_code == 202, resumed.text
    assert (resumed.json()["paused_by"], resumed.json()["status"]) == (None, "pending")
    assert "deploy_task.start" not in actions(operator)


@pytest.mark.parametrize("verb", ["resume", "rollback"])
def test_word_that_would_begin_a_run_where_another_one_is_at_work_is_refused(operator, served, task, verb):
    with served.database.write() as session:
        session.get_one(DeployTask, task["id"]).status = "paused"
        result = session.query(DeployResult).filter_by(client_id="a").one()
        result.status, result.ran = "success", True
        there = session.query(Installation).filter_by(client_id="a").one()
        there.version, there.previous_version, there.deploy_task_id = "1.5", "1.4", task["id"]
    other = operator.post(
        "/release/tasks", json={**UPGRADE, "client_ids": ["b"], "auto_select_clients": False}
    )
    with served.database.write() as session:
        acquire_leases(session, session.get_one(DeployTask, other.json()["id"]), "run-2", utc_now())
    before = seen(operator, task)
    assert_problem(say(operator, task, verb), 409, mentions="run-2")
    assert seen(operator, task) == before


def test_failures_that_are_gone_on_with_are_counted(operator, served, task):
    run_and_wait(served, task, "failures")
    with served.database.write() as session:
        session.query(DeployResult).filter_by(client_id="a").one().status = "unreachable"
    say(operator, task, "resume")
    with served.database.read() as session:
        assert session.get_one(DeployTask, task["id"]).forgiven_failures == 1
    assert seen(operator, task)["unreachable_count"] == 1


def test_approval_is_another_token_s(operator, served, task):
    with served.database.write() as session:
        session.query(Environment).one().require_approval = True
        session.get_one(DeployTask, task["id"]).creator = "somebody"
    assert seen(operator, task)["approved_by"] is None
    answer = say(operator, task, "approve", comment="reviewed")
    assert answer.status_code == 202, answer.text
    assert answer.json()["approved_by"] == "operator"


def test_creator_can_t_approve(operator, served, task):
    with served.database.write() as session:
        session.query(Environment).one().require_approval = True
    assert_problem(say(operator, task, "approve"), 403, mentions="operator made it")
    assert seen(operator, task)["approved_by"] is None


def test_plan_that_is_made_anew_has_to_be_approved_anew(operator, served, task):
    with served.database.write() as session:
        session.query(Environment).one().require_approval = True
        row = session.get_one(DeployTask, task["id"])
        row.creator = "somebody"
    say(operator, task, "approve")
    with served.database.write() as session:
        row = session.get_one(DeployTask, task["id"])
        row.plan = row.plan.model_copy(update={"digest": "0" * 64})
    assert seen(operator, task)["approved_by"] is None


def test_rollback_of_an_ended_task_needs_prefect_and_changes_nothing_without_it(operator, served, task):
    with served.database.write() as session:
        row = session.get_one(DeployTask, task["id"])
        row.status = "completed"
        for result in session.query(DeployResult):
            result.status, result.ran = "success", True
        for installation in session.query(Installation):
            installation.version, installation.previous_version = "1.5", "1.4"
    before = seen(operator, task)
    assert_problem(say(operator, task, "rollback"), 503, mentions="Prefect")
    assert seen(operator, task) == before


@pytest.mark.parametrize("verb", ["pause", "resume", "promote", "approve"])
def test_ended_task_takes_no_word(operator, served, task, verb):
    with served.database.write() as session:
        session.get_one(DeployTask, task["id"]).status = "completed"
    assert_problem(say(operator, task, verb), 409, mentions="it is completed")


@pytest.mark.parametrize("verb", ["pause", "resume", "promote", "approve", "rollback"])
def test_only_operators_have_a_say(served, operator, task, verb):
    assert_problem(say(served.viewer, task, verb), 403)
    assert_problem(operator.post(f"/release/tasks/nope/{verb}"), 404)
    assert_problem(say(operator, task, verb, colour="red"), 422)
    assert_problem(say(operator, task, verb, comment="x" * 1001), 422)


@pytest.mark.parametrize("scope", [{}, {"project_id": "shop"}, {"project_id": "shop", "environment": "prod"}])
def test_freeze_stops_a_start_and_is_lifted(operator, fleet, task, scope):
    made = operator.post(FREEZES, json={"reason": "black friday", **scope})
    assert made.status_code == 201, made.text
    assert made.json()["who"] == "operator"
    assert [one["id"] for one in operator.get(FREEZES).json()] == [made.json()["id"]]
    assert_problem(operator.post(f"/release/tasks/{task['id']}/start"), 409, mentions="black friday")
    assert operator.delete(f"{FREEZES}/{made.json()['id']}").status_code == 204
    assert operator.get(FREEZES).json() == []
    assert_problem(operator.post(f"/release/tasks/{task['id']}/start"), 503, mentions="Prefect")
    assert_problem(operator.delete(f"{FREEZES}/{made.json()['id']}"), 404)
    assert actions(operator)[:2] == ["freeze.delete", "freeze.create"]


def test_freeze_of_something_else_stops_nothing(operator, fleet, task):
    operator.post("/release/projects", json={"name": "other", "type": "script"})
    assert operator.post(FREEZES, json={"reason": "audit", "project_id": "other"}).status_code == 201
    assert_problem(operator.post(f"/release/tasks/{task['id']}/start"), 503, mentions="Prefect")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"reason": ""}, 422),
        ({"reason": "x", "environment": "prod"}, 422),
        ({"reason": "x", "project_id": "nope"}, 404),
        ({"reason": "x", "project_id": "shop", "environment": "nope"}, 422),
        ({"reason": "x", "until": "2020-01-01T00:00:00Z"}, 422),
        ({"reason": "x", "colour": "red"}, 422),
    ],
)
def test_invalid_freeze_is_refused(operator, fleet, body, status):
    assert_problem(operator.post(FREEZES, json=body), status)
    assert operator.get(FREEZES).json() == []


def test_freeze_ends_by_itself(operator, served, task):
    until = (utc_now() + timedelta(seconds=3)).isoformat()
    assert operator.post(FREEZES, json={"reason": "short", "until": until}).status_code == 201
    deadline = utc_now() + timedelta(seconds=20)
    while operator.get(FREEZES).json() and utc_now() < deadline:
        pass
    assert_problem(operator.post(f"/release/tasks/{task['id']}/start"), 503, mentions="Prefect")


def test_scheduled_task_waits_for_its_time(operator, fleet):
    later = (utc_now() + timedelta(days=1)).isoformat()
    answer = operator.post(
        "/release/tasks", json={**UPGRADE, "schedule_type": "scheduled", "schedule_from": later}
    )
    assert answer.status_code == 201, answer.text
    assert answer.json()["status"] == "scheduled"
    assert_problem(say(operator, answer.json(), "rollback"), 422, mentions="no client")
    assert seen(operator, answer.json())["status"] == "scheduled"


def test_scheduled_task_is_not_said_to_have_been_started_while_prefect_is_away(operator, served, fleet):
    soon = (utc_now() + timedelta(seconds=1)).isoformat()
    asked = {**UPGRADE, "schedule_type": "scheduled", "schedule_from": soon}
    task_id = operator.post("/release/tasks", json=asked).json()["id"]
    time.sleep(1.1)
    for _ in range(2):
        start_due(served.parts, threading.Event())
    assert "deploy_task.start" not in actions(operator)
    assert "Prefect" in operator.get(f"/release/tasks/{task_id}").json()["status_reason"]


def test_auto_rollback_that_can_t_work_is_refused_at_creation(operator, served, fleet):
    asked = {**UPGRADE, "operation": "uninstall", "version": None, "auto_rollback": "all"}
    assert_problem(operator.post("/release/tasks", json=asked), 422, field="auto_rollback")
    for strategy, scope in (("continue", "wave"), ("pause", "wave"), ("pause", "all")):
        asked = {**UPGRADE, "failure_strategy": strategy, "auto_rollback": scope}
        refused = operator.post("/release/tasks", json=asked)
        assert_problem(refused, 422, field="auto_rollback", mentions=strategy)
    with served.database.write() as session:
        session.query(Version).filter_by(version="1.5").one().rollback_script = None
        session.query(Version).filter_by(version="1.4").one().update_script = None
    refused = operator.post("/release/tasks", json={**UPGRADE, "auto_rollback": "failed"})
    assert_problem(refused, 422, field="auto_rollback")
    assert operator.get("/release/tasks").json() == []


def test_pairs_are_kept_apart(operator, served, fleet):
    for client in ("a", "b"):
        operator.patch(f"/release/clients/{client}", json={"labels": {"pair": "1"}})
    strategy = {"waves": ["100%"], "spread_by": "pair"}
    answer = operator.post("/release/tasks", json={**UPGRADE, "strategy": strategy})
    assert [len(wave) for wave in answer.json()["plan"]["waves"]] == [1, 1]
    misspelled = {"waves": ["100%"], "spread_by": "pairs"}
    refused = operator.post("/release/tasks", json={**UPGRADE, "strategy": misspelled})
    assert_problem(refused, 422, field="strategy.spread_by")
    assert "no client or target there has the label pairs" in refused.json()["detail"]
