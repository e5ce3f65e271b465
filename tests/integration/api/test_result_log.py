"""The log of a client whose agent can't be asked, because nothing is kept to ask it with."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from db.models import Client, DeployResult
from tests.builders import create_fleet
from tests.served_api import assert_problem


@pytest.fixture
def fleet(served):
    with served.database.write() as session:
        return create_fleet(session, {"a": "1.4"})


@pytest.mark.parametrize("kept", [None, ""])
def test_log_of_a_client_without_a_token_is_refused_clearly(operator, fleet, served, kept):
    wanted = {"project_id": "shop", "version": "1.5", "operation": "update", "auto_select_clients": True}
    task = operator.post("/release/tasks", json=wanted).json()
    with served.database.write() as session:
        session.query(DeployResult).filter_by(client_id="a").one().execution_id = "x.a.1.update"
        token = None if kept is None else served.parts.box.encrypt(kept)
        session.get(Client, "a").token_encrypted = token
    problem = assert_problem(operator.get(f"/release/tasks/{task['id']}/results/a/log"), 503)
    assert problem["part"] == "agent a"
    assert "no token is kept" in problem["detail"]


def test_file_of_our_own_that_went_after_the_start_is_not_blamed_on_the_agent(
    operator, fleet, served, monkeypatch
):
    wanted = {"project_id": "shop", "version": "1.5", "operation": "update", "auto_select_clients": True}
    task = operator.post("/release/tasks", json=wanted).json()
    with served.database.write() as session:
        session.query(DeployResult).filter_by(client_id="a").one().execution_id = "x.a.1.update"
        row = session.get(Client, "a")
        row.url, row.token_encrypted = "https://127.0.0.1:9", served.parts.box.encrypt("token")
    monkeypatch.setenv("HOIST_TLS_CA", "/nope")
    problem = assert_problem(operator.get(f"/release/tasks/{task['id']}/results/a/log"), 503)
    assert "agent a" not in problem["part"] + problem["detail"]
    assert "cannot use HOIST_TLS_CA: cannot read /nope" in problem["detail"]


@pytest.fixture
def silent_agent():
    """It takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_agents_that_do_not_answer_keep_nobody_else_waiting(operator, viewer_of, fleet, served, silent_agent):
    wanted = {"project_id": "shop", "version": "1.5", "operation": "update", "auto_select_clients": True}
    task = operator.post("/release/tasks", json=wanted).json()
    with served.database.write() as session:
        session.query(DeployResult).filter_by(client_id="a").one().execution_id = "x.a.1.update"
        row = session.get(Client, "a")
        row.url, row.token_encrypted = silent_agent, served.parts.box.encrypt("token")
    address = f"/release/tasks/{task['id']}/results/a/log"
    with ThreadPoolExecutor(60) as pool:
        asked = [pool.submit(viewer_of().get, address) for _ in range(60)]
        time.sleep(1)
        began = time.monotonic()
        assert operator.get("/release/projects").status_code == 200
        assert operator.get("/readyz").status_code == 200
        assert time.monotonic() - began < 3
        answers = [one.result() for one in asked]
    assert {answer.status_code for answer in answers} == {503}
    assert any("can't be reached" in answer.json()["detail"] for answer in answers)


@pytest.fixture
def viewer_of(served):
    return lambda: served.viewer
