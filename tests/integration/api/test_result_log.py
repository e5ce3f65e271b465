"""The log of a client whose agent can't be asked, because nothing is kept to ask it with."""

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
