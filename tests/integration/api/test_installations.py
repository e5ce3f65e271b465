import pytest

from tests.builders import create_environment, create_fleet, create_installation, create_target
from tests.served_api import assert_problem

INSTALLATIONS = "/release/projects/shop/installations"


@pytest.fixture
def fleet(served):
    with served.database.write() as session:
        project, prod = create_fleet(session, {"a": "1.4", "b": "1.5", "c": None})
        staging = create_environment(session, project, "staging")
        create_installation(session, create_target(session, staging, "d"), "1.4", "failed")
        bare = create_target(session, prod, "e")
    return {"project": project, "prod": prod, "staging": staging, "bare": bare}


def clients(answer):
    assert answer.status_code == 200, answer.text
    return [one["client_id"] for one in answer.json()]


def test_lists_who_has_the_project_and_in_which_version(operator, fleet):
    first = operator.get(INSTALLATIONS).json()[0]
    assert first["client_id"] == "a"
    assert first["target_name"] == "a"
    assert first["environment"] == "prod"
    assert first["environment_id"] == fleet["prod"].id
    assert first["version"] == "1.4"
    assert first["previous_version"] is None
    assert first["status"] == "installed"
    assert first["installed_at"] == "2030-01-02T03:04:05Z"


def test_filters_by_version_environment_and_status(operator, fleet):
    assert clients(operator.get(INSTALLATIONS)) == ["a", "b", "d"]
    assert clients(operator.get(f"{INSTALLATIONS}?version=1.4")) == ["a", "d"]
    assert clients(operator.get(f"{INSTALLATIONS}?version=1.4&status=installed")) == ["a"]
    assert clients(operator.get(f"{INSTALLATIONS}?environment=staging")) == ["d"]
    assert clients(operator.get(f"{INSTALLATIONS}?environment={fleet['prod'].id}")) == ["a", "b"]
    assert clients(operator.get(f"{INSTALLATIONS}?environment=nope")) == []
    assert_problem(operator.get(f"{INSTALLATIONS}?status=nope"), 422, field="status")
    page = operator.get(f"{INSTALLATIONS}?limit=2")
    assert clients(page) == ["a", "b"]
    assert clients(operator.get(page.links["next"]["url"])) == ["d"]


def test_adopts_what_is_there_and_replaces_it(operator, fleet):
    body = {
        "target_id": fleet["bare"].id,
        "version": "0.9-unregistered",
        "installed_at": "2020-01-01T00:00:00Z",
    }
    adopted = operator.post(INSTALLATIONS, json=body)
    assert adopted.status_code == 201
    assert adopted.json()["client_id"] == "e"
    assert adopted.json()["installed_at"] == "2020-01-01T00:00:00Z"
    again = operator.post(INSTALLATIONS, json={**body, "version": "1.0"})
    assert again.status_code == 200
    assert again.json()["version"] == "1.0"
    assert again.json()["id"] == adopted.json()["id"]
    assert clients(operator.get(f"{INSTALLATIONS}?version=1.0")) == ["e"]


def test_adoption_is_checked(operator, fleet):
    body = {"target_id": fleet["bare"].id, "version": "1.0"}
    future = {**body, "installed_at": "2199-01-01T00:00:00Z"}
    assert_problem(operator.post(INSTALLATIONS, json=future), 422, field="installed_at")
    assert_problem(operator.post(INSTALLATIONS, json={**body, "target_id": "nope"}), 404)
    assert_problem(
        operator.post(INSTALLATIONS, json={**body, "installed_at": "0001-01-01T00:00:00+14:00"}), 422
    )
    operator.post("/release/projects", json={"name": "other", "type": "script"})
    assert_problem(operator.post("/release/projects/other/installations", json=body), 422, field="target_id")
