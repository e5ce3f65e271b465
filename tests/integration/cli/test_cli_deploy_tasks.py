"""Deploy tasks by the command line. A start that reaches a real Prefect server is in tests/e2e."""

import json

import pytest

from db.documents.strategy import Strategy
from db.models import Client, DeployResult, DeployTask, Project, utc_now
from tests.builders import create_environment, create_fleet
from tests.integration.api.test_deploy_tasks import agent_url, hold_lease

__all__ = ["agent_url"]


@pytest.fixture
def fleet(served):
    with served.database.write() as session:
        return create_fleet(session, {"a": "1.4", "b": "1.4", "c": "1.5", "d": "1.4"})


def stored(operator):
    """The newest deploy task, as the API has it."""
    newest = operator.get("/release/tasks?limit=1").json()[0]["id"]
    return operator.get(f"/release/tasks/{newest}").json()


def test_plan_shows_waves_and_who_is_passed_over_and_touches_nobody(hoist, operator, fleet):
    operator.patch("/release/clients/d", json={"held": {"reason": "on fire"}})
    ended = hoist("plan", "shop", "1.5", "--from", "1.4", "--waves", "1,100%")
    task = stored(operator)
    assert ended.out.splitlines() == [
        f"update of shop 1.4 → 1.5 in prod, deploy task {task['id']}",
        "wave  clients  who",
        "1     1        a",
        "2     1        b",
        "passed over  because  detail",
        "d            held     on fire",
        f"start it: hoist start {task['id']}",
        f"drop it: hoist cancel {task['id']}",
    ]
    assert (task["status"], task["auto_select_clients"], task["source_version"]) == ("pending", True, "1.4")
    assert hoist("plan", "shop", "1.5", "--json").json == stored(operator)


def test_every_option_is_in_the_request(hoist, operator, fleet):
    hoist(
        *("plan", "shop", "1.5", "--operation", "deploy", "--environment", "prod"),
        *("--client", "a", "--client", "c", "--client", "d", "--exclude", "d"),
        *("--include-failed", "--allow-downgrade", "--waves", "2,50%", "--max-parallel", 3),
        *("--max-failures", "10%", "--stable-for", "1.5", "--health-timeout", 60),
        *("--keep-going", "--timeout", 77, "--env", "A=b"),
    )
    task = stored(operator)
    assert task["client_ids"] == ["a"]
    assert {one["client_id"]: one["reason"] for one in task["skipped"]} == {
        "c": "already_at_version",
        "d": "excluded",
    }
    assert task["strategy"] == Strategy().model_dump(mode="json") | {
        "waves": [2, "50%"],
        "max_parallel": 3,
        "max_failures": "10%",
        "stable_for_s": 1.5,
        "health_timeout_s": 60,
    }
    said = {
        name: task[name]
        for name in ("include_failed", "allow_downgrade", "failure_strategy", "timeout_s", "env")
    }
    assert said == {
        "include_failed": True,
        "allow_downgrade": True,
        "failure_strategy": "continue",
        "timeout_s": 77,
        "env": {"A": "b"},
    }


def test_strategy_that_no_option_names_stays_the_projects(hoist, operator, served, fleet):
    with served.database.write() as session:
        session.get(Project, fleet[0].id).default_strategy = Strategy(waves=(2,), max_parallel=7)
    hoist("plan", "shop", "1.5", "--max-failures", "3")
    strategy = stored(operator)["strategy"]
    assert (strategy["waves"], strategy["max_parallel"], strategy["max_failures"]) == ([2], 7, 3)


def test_document_and_labels(hoist, operator, fleet):
    operator.patch("/release/clients/b", json={"labels": {"rack": "r1"}})
    document = json.dumps({"created_by": "ci", "detach_method": "setsid", "strategy": {"waves": [9]}})
    hoist("plan", "shop", "1.5", "--label", "rack=r1", "--max-parallel", 2, "--file", "-", stdin=document)
    task = stored(operator)
    assert (task["client_ids"], task["auto_select_clients"], task["created_by"]) == (["b"], False, "ci")
    assert (task["detach_method"], task["strategy"]["waves"], task["strategy"]["max_parallel"]) == (
        "setsid",
        [9],
        2,
    )


def test_rollback_and_uninstall_and_install_make_their_operations(hoist, operator, served, fleet):
    (environment,) = operator.get("/release/projects/shop/environments").json()
    with served.database.write() as session:
        for result in session.query(Client):
            result.labels = {"all": "yes"}
    for arguments, operation in (
        (("rollback", "shop", "1.4", "--client", "c"), "rollback"),
        (("uninstall", "shop", "--client", "a"), "uninstall"),
        (("upgrade", "shop", "1.5"), "update"),
    ):
        hoist(*arguments, code=4)  # made, and not started: no Prefect is there
        assert (stored(operator)["operation"], stored(operator)["status"]) == (operation, "pending")
    operator.post("/release/clients", json={"client_id": "new", "url": "http://127.0.0.1:1"})
    operator.post(
        f"/release/environments/{environment['id']}/targets", json={"client_id": "new", "name": "new"}
    )
    hoist("install", "shop", "1.5", "--client", "new", code=4)
    assert stored(operator)["client_ids"] == ["new"]
    hoist("upgrade", "shop", code=2)


def test_upgrade_without_prefect_is_4_and_says_what_is_left_to_do(hoist, operator, fleet):
    ended = hoist("upgrade", "shop", "1.5", "--watch", code=4)
    task = stored(operator)["id"]
    first, *rest = ended.err.splitlines()
    assert first.startswith("hoist: cannot start")
    assert "Prefect" in first
    assert f"  deploy task {task} is not started: hoist status {task}" in rest
    in_json = hoist("upgrade", "shop", "1.5", "--json", code=4)
    assert (in_json.out, stored(operator)["id"] in in_json.err) == ("", True)


@pytest.mark.parametrize(
    ("arguments", "code", "mentions"),
    [
        (("nope", "1.5"), 3, "(404)"),
        (("shop", "9.9"), 3, "9.9"),
        (("shop", "1.5", "--from", "0.1"), 3, "0.1"),
        (("shop", "1.5", "--client", "nobody"), 3, "nobody"),
        (("shop", "1.5", "--environment", "nope"), 3, "nope"),
        (("shop", "1.5", "--waves", "0"), 3, "strategy.waves"),
        (("shop", "1.5", "--waves", "0%"), 3, "strategy.waves"),
        (("shop", "1.5", "--waves", ""), 3, "strategy.waves"),
        (("shop", "1.5", "--max-failures", "many"), 3, "strategy.max_failures"),
        (("shop", "1.5", "--stable-for", "nan"), 2, "not finite"),
        (("shop", "1.5", "--max-parallel", "x"), 2, "--max-parallel"),
        (("shop", "1.5", "--env", "=x"), 2, "NAME=VALUE"),
        (("shop", "1.5", "--operation", "explode"), 2, "explode"),
    ],
)
def test_bad_input_makes_no_deploy_task(hoist, operator, fleet, arguments, code, mentions):
    assert mentions in hoist("plan", *arguments, code=code).err
    assert operator.get("/release/tasks").json() == []


def test_environment_has_to_be_named_where_there_are_two(hoist, operator, served, fleet):
    with served.database.write() as session:
        create_environment(session, fleet[0], "staging")
    assert "environment" in hoist("plan", "shop", "1.5", code=3).err
    hoist("plan", "shop", "1.5", "--environment", "*")
    assert stored(operator)["total_count"] == 3


def test_start_of_a_changed_fleet_lists_the_changes(hoist, operator, fleet):
    task = hoist("plan", "shop", "1.5", "--json").json["id"]
    operator.patch("/release/clients/a", json={"held": {"reason": "on fire"}})
    refused = hoist("start", task, code=3)
    assert any("a" in line and "plan" in line for line in refused.err.splitlines()[1:])
    hoist("start", task, "--replan", code=4)  # gets as far as Prefect
    assert "(404)" in hoist("start", "nope", code=3).err


def test_status_lists_and_shows(hoist, operator, served, fleet):
    assert hoist("status").out == "no such deploy task: hoist upgrade\n"
    older = hoist("plan", "shop", "1.5", "--json").json["id"]
    newer = hoist("plan", "shop", "1.5", "--client", "a", "--json").json["id"]
    rows = hoist("status", "shop").lines[1:]
    assert [row[:8] for row in rows] == [
        [newer, "shop", "update", "1.4", "1.5", "prod", "pending", "0/1"],
        [older, "shop", "update", "1.4", "1.5", "prod", "pending", "0/3"],
    ]
    assert [row["id"] for row in hoist("status", "--limit", "1", "--json").json] == [newer]
    assert hoist("status", "--status", "failed", "--json").json == []
    with served.database.write() as session:
        row = session.query(DeployResult).filter_by(deploy_task_id=older, client_id="a").one()
        row.status, row.error, row.exit_code, row.attempt = "failed", "exit code 3\x1b[2J", 3, 1
    one = hoist("status", older)
    assert one.out.startswith("update of shop 1.4 → 1.5 in prod\n")
    assert "3 clients: 1 failed, 2 pending" in one.out
    assert ["a", "1", "failed", "1", "3", "–", "–", "exit code 3[2J"] in one.lines
    assert hoist("status", older, "--json").json == operator.get(f"/release/tasks/{older}").json()
    assert "(404)" in hoist("status", "nope", code=3).err


def test_cancel_ends_what_waits_and_tells_what_runs(hoist, operator, served, fleet):
    waiting = hoist("plan", "shop", "1.5", "--json").json["id"]
    assert hoist("cancel", waiting).out == f"deploy task {waiting} is cancelled\n"
    assert "(409)" in hoist("cancel", waiting, code=3).err
    running = hoist("plan", "shop", "1.5", "--json").json["id"]
    hold_lease(served, running)
    cancelled = hoist("cancel", running, "--kill", "--comment", "it hangs")
    assert cancelled.out == f"deploy task {running} will end as cancelled\n"
    assert operator.get("/release/audit").json()[0]["detail"] == {"comment": "it hangs", "running": "kill"}
    with served.database.read() as session:
        assert session.get(DeployTask, running).cancel_running == "kill"


def test_retry_says_whom(hoist, operator, served, fleet):
    task = hoist("plan", "shop", "1.5", "--json").json["id"]
    assert "(409)" in hoist("retry", task, code=3).err  # it has not ended
    hoist("cancel", task)
    hoist("retry", task, code=4)  # gets as far as Prefect
    assert "nobody" in hoist("retry", task, "--client", "nobody", code=3).err
    assert "success" in hoist("retry", task, "--status", "success", code=2).err


def test_log_is_followed_to_its_end(hoist, served, fleet, agent_url, operator):
    task = hoist("plan", "shop", "1.5", "--json").json["id"]
    assert hoist("log", task, "a").out == ""
    with served.database.write() as session:
        row = session.query(DeployResult).filter_by(client_id="a").one()
        row.status, row.finished_at = "skipped", utc_now()
    assert hoist("log", task, "a", "--follow").out == ""
    assert hoist("log", task, "a", "--json").json["complete"] is True
    assert "(404)" in hoist("log", task, "nobody", code=3).err
    with served.database.write() as session:
        session.query(DeployResult).filter_by(client_id="b").one().execution_id = "x.b.1.update"
    assert "b" in hoist("log", task, "b", code=4).err  # no token is kept for its agent
