"""Deploy tasks over HTTP. A start that reaches a real Prefect server is in tests/e2e."""

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from api.flow_runs import FlowRuns
from db.models import Client, DeployResult, DeployTask, Lease, Version, utc_now
from tasks.planning.lease import acquire_leases
from tests.builders import create_environment, create_fleet
from tests.served_api import assert_problem

UPGRADE = {"project_id": "shop", "version": "1.5", "operation": "update", "auto_select_clients": True}


@pytest.fixture
def fleet(served):
    with served.database.write() as session:
        return create_fleet(session, {"a": "1.4", "b": "1.4", "c": "1.5"})


def make(operator, **fields):
    answer = operator.post("/release/tasks", json={**UPGRADE, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_created_task_selects_its_clients_and_says_who_was_passed_over(operator, fleet):
    task = make(operator)
    assert set(task["client_ids"]) == {"a", "b"}
    assert task["selected_from_version"] == "1.4"
    assert [(one["client_id"], one["reason"]) for one in task["skipped"]] == [("c", "already_at_version")]
    assert task["plan"]["waves"]
    assert len(task["plan"]["digest"]) == 64
    assert task["status"] == "pending"
    assert (task["total_count"], task["pending_count"], task["success_count"]) == (2, 2, 0)
    assert {one["status"] for one in task["results"]} == {"pending"}
    assert operator.get(f"/release/tasks/{task['id']}").json() == task


def test_list_leaves_plan_clients_and_results_out(operator, fleet):
    older, newer = make(operator), make(operator)
    listed = operator.get("/release/tasks").json()
    assert [one["id"] for one in listed] == [newer["id"], older["id"]]
    assert not {"plan", "client_ids", "results"} & listed[0].keys()
    assert listed[0]["total_count"] == 2
    assert len(operator.get("/release/tasks?project_id=shop&status=pending").json()) == 2
    assert operator.get("/release/tasks?status=completed").json() == []
    assert_problem(operator.get("/release/tasks?project_id=nope"), 404)
    page = operator.get("/release/tasks?limit=1")
    assert operator.get(page.links["next"]["url"]).json()[0]["id"] == older["id"]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"project_id": "nope"}, 404),
        ({"version": "9.9"}, 422),
        ({"version": None}, 422),
        ({"source_version": "0.1"}, 422),
        ({"client_ids": ["a"]}, 422),
        ({"environment": "nope"}, 422),
        ({"operation": "explode"}, 422),
        ({"auto_rollback": "sometimes"}, 422),
        ({"schedule_type": "scheduled"}, 422),
        ({"schedule_from": "2130-01-01T00:00:00Z"}, 422),
        ({"schedule_to": "2020-01-01T00:00:00Z"}, 422),
        ({"schedule_to": "tomorrow"}, 422),
        ({"failure_strategy": "hope"}, 422),
        ({"strategy": {"canary_percent": 0}}, 422),
        ({"strategy": {"canary_percent": 101}}, 422),
        ({"strategy": {"canary_duration_s": 60}}, 422),
        ({"strategy": {"canary_percent": 5, "canary_auto_promote": True}}, 422),
        ({"strategy": {"canary_percent": 5, "canary_duration_s": -1}}, 422),
        ({"strategy": {"pause_after": [0]}}, 422),
        ({"strategy": {"spread_by": ""}}, 422),
        ({"strategy": {"offline": "wait", "offline_wait_s": 1e9}}, 422),
        ({"strategy": {"max_failures_per_wave": "0%"}}, 422),
        ({"strategy": {"waves": [0]}}, 422),
        ({"strategy": {"waves": ["0%"]}}, 422),
        ({"strategy": {"max_parallel": 0}}, 422),
        ({"timeout_s": -1}, 422),
        ({"timeout_s": "15"}, 422),
        ({"include_failed": "yes"}, 422),
        ({"strategy": {"waves": [True]}}, 422),
        ({"strategy": {"waves": [1.0]}}, 422),
        ({"strategy": {"max_parallel": True}}, 422),
        ({"strategy": {"stable_for_s": "30"}}, 422),
        ({"unknown": 1}, 422),
    ],
)
def test_invalid_request_stores_nothing(operator, fleet, fields, status):
    assert_problem(operator.post("/release/tasks", json={**UPGRADE, **fields}), status)
    assert operator.get("/release/tasks").json() == []


def test_nobody_left_names_project_and_source_version(operator, fleet):
    answer = operator.post("/release/tasks", json={**UPGRADE, "source_version": "0.7"})
    assert "shop" in assert_problem(answer, 422, mentions="0.7")["detail"]


def test_source_version_narrows_the_clients_that_are_named(operator, fleet):
    named = {"auto_select_clients": False, "client_ids": ["a", "c"], "version": "1.5"}
    task = make(operator, **named, source_version="1.4")
    assert (task["client_ids"], task["selected_from_version"], task["skipped"]) == (["a"], "1.4", [])
    nobody = operator.post("/release/tasks", json={**UPGRADE, **named, "source_version": "0.7"})
    assert_problem(nobody, 422, mentions="0.7")


def test_environment_is_named_where_there_is_more_than_one(operator, fleet, served):
    with served.database.write() as session:
        create_environment(session, fleet[0], "staging")
    assert_problem(operator.post("/release/tasks", json=UPGRADE), 422, field="environment")
    assert make(operator, environment="*")["total_count"] == 2


def test_start_without_prefect_is_503_and_leaves_the_task_as_it_was(operator, fleet):
    task = make(operator)
    problem = assert_problem(operator.post(f"/release/tasks/{task['id']}/start"), 503)
    assert problem["part"] == "Prefect"
    assert operator.get(f"/release/tasks/{task['id']}").json() == task
    assert_problem(operator.post("/release/tasks/nope/start"), 404)
    assert_problem(operator.post(f"/release/tasks/{task['id']}/start", json={"x": 1}), 422, field="x")


def test_start_on_a_changed_fleet_is_409_with_the_changes(operator, fleet):
    task = make(operator)
    operator.patch("/release/clients/a", json={"held": {"reason": "on fire"}})
    problem = assert_problem(operator.post(f"/release/tasks/{task['id']}/start"), 409)
    assert any("a" in error["message"] for error in problem["errors"])
    answer = operator.post(f"/release/tasks/{task['id']}/start", json={"replan": True})
    assert_problem(answer, 503)
    assert set(operator.get(f"/release/tasks/{task['id']}").json()["client_ids"]) == {"a", "b"}


def hold_lease(served, task_id):
    with served.database.write() as session:
        task = session.get(DeployTask, task_id)
        acquire_leases(session, task, "flow run 7", utc_now())
        task.status = "running"


def test_start_while_another_holds_the_lease_names_the_holder(operator, fleet, served):
    first, second = make(operator), make(operator)
    hold_lease(served, first["id"])
    assert first["id"] in assert_problem(operator.post(f"/release/tasks/{second['id']}/start"), 409)["detail"]


def test_cancel_of_a_waiting_task_ends_it_at_once(operator, fleet):
    task = make(operator)
    answer = operator.post(f"/release/tasks/{task['id']}/cancel", json={"running": "kill"})
    assert answer.status_code == 202
    assert answer.json()["status"] == "cancelled"
    assert answer.json()["skipped_count"] == 2
    assert_problem(operator.post(f"/release/tasks/{task['id']}/cancel"), 409)
    assert_problem(operator.post(f"/release/tasks/{task['id']}/start"), 409)
    assert_problem(operator.post(f"/release/tasks/{task['id']}/cancel", json={"running": "x"}), 422)


def test_cancel_of_a_running_task_tells_its_run(operator, fleet, served):
    task = make(operator)
    hold_lease(served, task["id"])
    answer = operator.post(f"/release/tasks/{task['id']}/cancel", json={"running": "kill"})
    assert answer.status_code == 202
    assert answer.json()["status"] == "running"
    with served.database.read() as session:
        assert session.get(DeployTask, task["id"]).cancel_running == "kill"


def test_cancel_says_why_in_the_trail(operator, fleet):
    cancel = f"/release/tasks/{make(operator)['id']}/cancel"
    assert_problem(operator.post(cancel, json={"comment": "x" * 1001}), 422)
    assert operator.post(cancel, json={"comment": "the wrong version"}).status_code == 202
    entry = operator.get("/release/audit").json()[0]
    assert (entry["who"], entry["action"]) == ("operator", "deploy_task.cancel")
    assert entry["detail"] == {"comment": "the wrong version", "running": "finish"}


def test_cancel_of_an_interrupted_task_needs_prefect_and_changes_nothing_without_it(operator, fleet, served):
    task = make(operator)
    hold_lease(served, task["id"])
    with served.database.write() as session:
        session.query(Lease).one().expires_at = utc_now() - timedelta(seconds=1)
        session.query(DeployResult).filter_by(client_id="a").one().status = "running"
    problem = assert_problem(
        operator.post(f"/release/tasks/{task['id']}/cancel", json={"running": "kill"}), 503
    )
    assert "Prefect" in problem["detail"]
    with served.database.read() as session:
        row = session.get(DeployTask, task["id"])
        assert (row.status, row.cancel_running) == ("running", None)


def test_retry_needs_prefect_and_changes_nothing_without_it(operator, fleet):
    task = make(operator)
    operator.post(f"/release/tasks/{task['id']}/cancel")
    before = operator.get(f"/release/tasks/{task['id']}").json()
    assert_problem(operator.post(f"/release/tasks/{task['id']}/retry"), 503)
    assert operator.get(f"/release/tasks/{task['id']}").json() == before
    assert_problem(operator.post(f"/release/tasks/{task['id']}/retry", json={"statuses": ["success"]}), 422)


def make_failed(operator, served):
    task = make(operator)
    with served.database.write() as session:
        row = session.get(DeployTask, task["id"])
        row.status, row.status_reason, row.finished_at = "failed", "too many failed", utc_now()
        for result in session.query(DeployResult).filter_by(deploy_task_id=row.id):
            result.status, result.error, result.output, result.exit_code = "failed", "boom", "boom\n", 3
    return operator.get(f"/release/tasks/{task['id']}").json()


def seen(operator, task):
    trail = operator.get(f"/release/audit?task_id={task['id']}").json()
    return operator.get(f"/release/tasks/{task['id']}").json(), trail


def test_retry_while_another_holds_the_lease_changes_nothing(operator, fleet, served):
    other, task = make(operator), make_failed(operator, served)
    hold_lease(served, other["id"])
    before = seen(operator, task)
    answer = operator.post(f"/release/tasks/{task['id']}/retry")
    assert other["id"] in assert_problem(answer, 409)["detail"]
    assert seen(operator, task) == before


def test_retry_on_a_changed_fleet_changes_nothing(operator, fleet, served):
    task = make_failed(operator, served)
    operator.patch("/release/clients/a", json={"held": {"reason": "on fire"}})
    before = seen(operator, task)
    problem = assert_problem(operator.post(f"/release/tasks/{task['id']}/retry"), 409)
    assert any("a" in error["message"] for error in problem["errors"])
    assert seen(operator, task) == before


def test_retry_goes_on_without_who_was_deregistered_since(operator, fleet, served):
    """Nothing but Prefect is missing then; before it ever began, it is the changed fleet that is in the way."""
    task = make_failed(operator, served)
    assert operator.delete("/release/clients/a").status_code == 204
    assert_problem(operator.post(f"/release/tasks/{task['id']}/retry"), 409)
    with served.database.write() as session:
        session.get(DeployTask, task["id"]).started_at = utc_now()
    assert assert_problem(operator.post(f"/release/tasks/{task['id']}/retry"), 503)["part"] == "Prefect"


def test_retry_of_a_failed_task_without_prefect_leaves_it_as_it_was(operator, fleet, served):
    task = make_failed(operator, served)
    before = seen(operator, task)
    assert assert_problem(operator.post(f"/release/tasks/{task['id']}/retry"), 503)["part"] == "Prefect"
    assert seen(operator, task) == before


@dataclass(frozen=True, slots=True)
class SlowPrefect(FlowRuns):
    """It answers, and while it is asked somebody else does `meanwhile`."""

    meanwhile: Callable[[], None]

    def check(self):
        self.meanwhile()


def test_retry_that_is_overtaken_while_prefect_is_asked_changes_nothing(operator, fleet, served):
    other, task = make(operator), make_failed(operator, served)
    overtaken = []
    slow = SlowPrefect(served.parts.settings, lambda: overtaken.append(hold_lease(served, other["id"])))
    object.__setattr__(served.parts, "flow_runs", slow)  # before any request that asks Prefect
    before = seen(operator, task)
    answer = operator.post(f"/release/tasks/{task['id']}/retry")
    assert other["id"] in assert_problem(answer, 409)["detail"]
    assert len(overtaken) == 1
    assert seen(operator, task) == before


def test_results_come_without_and_with_output(operator, fleet, served):
    task = make(operator)
    with served.database.write() as session:
        row = session.query(DeployResult).filter_by(client_id="a").one()
        row.status, row.output, row.exit_code, row.finished_at = "failed", "boom\n", 3, utc_now()
        row.started_at = row.finished_at - timedelta(seconds=2)
    results = f"/release/tasks/{task['id']}/results"
    listed = operator.get(results).json()
    assert [one["client_id"] for one in listed] == ["a", "b"]
    assert "output" not in listed[0]
    assert [one["client_id"] for one in operator.get(f"{results}?status=failed").json()] == ["a"]
    one = operator.get(f"{results}/a").json()
    assert (one["output"], one["exit_code"], one["is_canary"], one["wave"]) == ("boom\n", 3, False, 0)
    assert_problem(operator.get(f"{results}/nobody"), 404)
    assert_problem(operator.get("/release/tasks/nope/results"), 404)
    assert operator.get(f"/release/tasks/{task['id']}").json()["failed_count"] == 1


class FakeAgent(BaseHTTPRequestHandler):
    """Answers the log of one execution, to whoever presents the token."""

    def do_GET(self):
        known = self.path == "/prefix/v1/executions/x.a.1.update/log?offset=3"
        status = 200 if known and self.headers["Authorization"] == "Bearer agents-token" else 404
        body = b'{"output": "hello", "next_offset": 8, "complete": false, "skipped_bytes": 0, "newer": 1}'
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def agent_url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeAgent)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/prefix"
    server.shutdown()
    thread.join()
    server.server_close()


def test_log_is_asked_of_the_agent(operator, fleet, served, agent_url):
    task = make(operator)
    log = f"/release/tasks/{task['id']}/results/a/log"
    assert operator.get(log).json() == {"output": "", "next_offset": 0, "complete": False}
    with served.database.write() as session:
        session.query(DeployResult).filter_by(client_id="a").one().execution_id = "x.a.1.update"
        client = session.get(Client, "a")
        client.url, client.token_encrypted = agent_url, served.parts.box.encrypt("agents-token")
    answer = operator.get(f"{log}?offset=3")
    assert answer.json() == {"output": "hello", "next_offset": 8, "complete": False}
    assert_problem(operator.get(f"{log}?offset=4"), 404)
    assert_problem(operator.get(f"{log}?offset=-1"), 422, field="offset")


def test_log_of_an_unreachable_agent_is_503_naming_it(operator, fleet, served):
    task = make(operator)
    with socket.socket() as nobody, served.database.write() as session:
        nobody.bind(("127.0.0.1", 0))
        session.query(DeployResult).filter_by(client_id="a").one().execution_id = "x"
        session.get(Client, "a").url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    problem = assert_problem(operator.get(f"/release/tasks/{task['id']}/results/a/log"), 503)
    assert problem["part"] == "agent a"


def test_mistake_in_the_waves_is_one_clear_sentence(operator, fleet):
    answer = operator.post("/release/tasks", json={**UPGRADE, "strategy": {"waves": ["0%"]}})
    (error,) = assert_problem(answer, 422)["errors"]
    assert error == {
        "field": "strategy.waves.0",
        "message": 'must be a count of at least 1, or a share, "1%" to "100%"',
    }


def test_viewer_sees_the_names_of_environment_variables_not_their_values(operator, served, fleet):
    task = make(operator, env={"DB_PASSWORD": "hunter2"})
    with served.database.write() as session:
        session.query(Version).filter_by(version="1.5").one().env = {"API_KEY": "hunter3"}
    assert operator.get(f"/release/tasks/{task['id']}").json()["env"] == {"DB_PASSWORD": "hunter2"}
    for path in (f"/release/tasks/{task['id']}", "/release/tasks", "/release/projects/shop/versions"):
        text = served.viewer.get(path).text
        assert "hunter" not in text
        assert "***" in text
