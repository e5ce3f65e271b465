import httpx
import pytest
from sqlalchemy import select

from db.documents.rollback import RollbackState
from db.models import Client, DeployResult, DeployTask, Target, utc_now
from tasks.planning import create_deploy_task
from tests.builders import create_environment, create_fleet, create_project, upgrade_request
from tests.served_api import assert_problem

URL = "https://web-01.example:4220"


def make(operator, client_id="web-01", **fields):
    answer = operator.post("/release/clients", json={"client_id": client_id, "url": URL, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_token_is_kept_encrypted_and_never_returned(operator, served):
    created = make(operator, token="agents-secret")
    assert created["has_token"] is True
    assert created["id"] == created["client_id"] == "web-01"
    for answer in (operator.get("/release/clients/web-01"), operator.get("/release/clients")):
        assert "agents-secret" not in answer.text
        assert "report_token" not in answer.text
    with served.database.read() as session:
        row = session.scalars(select(Client)).one()
        assert b"agents-secret" not in row.token_encrypted
        assert served.parts.box.decrypt(row.token_encrypted) == "agents-secret"
        assert created["report_token"] not in row.report_token_sha256


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"client_id": "-x"}, "client_id"),
        ({"client_id": "x" * 64}, "client_id"),
        ({"client_id": "web 1"}, "client_id"),
        ({"url": "http://web-01.example:4220"}, "url"),
        ({"url": "ftp://web-01.example"}, "url"),
        ({"url": "https://"}, "url"),
        ({"url": "https://user:pass@web-01.example"}, "url"),
        ({"url": "https://web-01.example/?a=b"}, "url"),
        ({"url": "https://web-01.example:99999"}, "url"),
        ({"url": "https://web-01.example/../x"}, "url"),
        ({"url": "nonsense"}, "url"),
        ({"labels": {"a": 5}}, "labels.a"),
        ({"labels": {"": "x"}}, "labels."),
        ({"token": "with space"}, "token"),
        ({"token": "ünicode"}, "token"),
        ({"report_token": "mine"}, "report_token"),
    ],
)
def test_invalid_client_is_refused(operator, fields, field):
    answer = operator.post("/release/clients", json={"client_id": "web-01", "url": URL, **fields})
    problem = assert_problem(answer, 422)
    assert any(error["field"].startswith(field) for error in problem["errors"]), problem
    for value in fields.values():
        if value == "with space" or value == "ünicode":
            assert value not in answer.text
    assert operator.get("/release/clients").json() == []


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:4220", "http://localhost:1/prefix", "http://[::1]:80", f"{URL}/a/b"]
)
def test_loopback_may_be_http_and_a_path_prefix_is_kept(operator, url):
    assert operator.post("/release/clients", json={"client_id": "c", "url": url}).json()["url"] == url


def test_taken_client_id_is_409(operator):
    make(operator)
    assert_problem(operator.post("/release/clients", json={"client_id": "web-01", "url": URL}), 409)


def test_changed_url_needs_the_token_again(operator):
    make(operator, token="agents-secret")
    elsewhere = "https://elsewhere.example"
    answer = operator.patch("/release/clients/web-01", json={"url": elsewhere})
    assert_problem(answer, 422, field="token")
    assert operator.get("/release/clients/web-01").json()["url"] == URL
    assert operator.patch("/release/clients/web-01", json={"url": URL}).status_code == 200
    answer = operator.patch("/release/clients/web-01", json={"url": elsewhere, "token": "agents-secret"})
    assert answer.json()["url"] == elsewhere


def test_held_client_says_why_until_it_is_let_go(operator):
    make(operator)
    held = {"reason": "disk is being replaced", "until": "2199-01-01T00:00:00+01:00"}
    answer = operator.patch("/release/clients/web-01", json={"held": held})
    assert answer.json()["held"] == {"reason": held["reason"], "until": "2198-12-31T23:00:00Z"}
    assert operator.patch("/release/clients/web-01", json={"labels": {"a": "b"}}).json()["held"] is not None
    assert operator.patch("/release/clients/web-01", json={"held": None}).json()["held"] is None
    past = {"reason": "x", "until": "2001-01-01T00:00:00Z"}
    assert_problem(operator.patch("/release/clients/web-01", json={"held": past}), 422, field="held.until")
    naive = {"reason": "x", "until": "2199-01-01T00:00:00"}
    assert_problem(operator.patch("/release/clients/web-01", json={"held": naive}), 422, field="held.until")
    assert_problem(operator.patch("/release/clients/web-01", json={"labels": None}), 422, field="labels")


def test_rotated_report_token_overlaps_with_the_one_before(operator, served):
    created = make(operator)
    rotated = operator.post("/release/clients/web-01/rotate", json={"overlap_s": 3600})
    assert rotated.status_code == 200
    again = operator.post("/release/clients/web-01/rotate", json={"overlap_s": 0}).json()
    statuses = {}
    for name, token in (
        ("first", created["report_token"]),
        ("second", rotated.json()["report_token"]),
        ("third", again["report_token"]),
    ):
        statuses[name] = served.client(token).post("/release/process-report", json={}).status_code
    assert statuses == {"first": 401, "second": 401, "third": 422}
    last = operator.post("/release/clients/web-01/rotate").json()
    assert last["old_token_good_until"] is not None
    assert served.client(again["report_token"]).post("/release/process-report", json={}).status_code == 422
    assert_problem(
        operator.post("/release/clients/web-01/rotate", json={"overlap_s": -1}), 422, field="overlap_s"
    )
    assert_problem(operator.post("/release/clients/nobody/rotate"), 404)


def test_deleted_client_takes_its_targets_and_installations_along(operator, served):
    with served.database.write() as session:
        create_fleet(session, {"web-01": "1.4", "web-02": "1.4"})
    assert operator.delete("/release/clients/web-01").status_code == 204
    assert_problem(operator.get("/release/clients/web-01"), 404)
    left = operator.get("/release/projects/shop/installations").json()
    assert [one["client_id"] for one in left] == ["web-02"]
    assert [one["action"] for one in operator.get("/release/audit?client_id=web-01").json()] == [
        "client.delete"
    ]
    assert_problem(operator.delete("/release/clients/nobody"), 404)


def test_client_and_target_of_a_deploy_task_that_goes_on_stay(operator, served):
    with served.database.write() as session:
        create_fleet(session, {"web-01": "1.4"})
    asked = {"project_id": "shop", "version": "1.5", "auto_select_clients": True, "operation": "update"}
    task = operator.post("/release/tasks", json=asked).json()
    with served.database.write() as session:
        session.query(DeployTask).one().status = "paused"
        target = session.query(Target).one()
    where = f"/release/environments/{target.environment_id}/targets/{target.id}"
    for address in ("/release/clients/web-01", where):
        assert task["id"] in assert_problem(operator.delete(address), 409)["detail"]
    with served.database.write() as session:
        session.query(DeployTask).one().status = "failed"
    assert operator.delete(where).status_code == 204
    assert operator.get("/release/projects/shop/installations").json() == []
    assert operator.get("/release/clients/web-01").status_code == 200
    assert_problem(operator.delete(where), 404)


@pytest.mark.parametrize("rollback", [None, "running"])
def test_deregistered_client_is_open_no_more_in_a_deploy_task_that_ended(operator, served, rollback):
    """Its flow run was cancelled in Prefect, or killed: nobody else will ever say what became of it."""
    with served.database.write() as session:
        project, _ = create_fleet(session, {"a": "1.4", "b": "1.4"})
        task = create_deploy_task(session, upgrade_request(project), now=utc_now(), who="ann")
        task.status, task.started_at = "cancelled", utc_now()
        for row in session.query(DeployResult):
            row.status = "success" if rollback else "running"
            if rollback:
                row.rollback = RollbackState(
                    status=rollback, to_version="1.4", execution_id="x", started_at=utc_now()
                )
        task_id = task.id
    assert operator.delete("/release/clients/a").status_code == 204
    with served.database.read() as session:
        rows = {row.client_id: row for row in session.query(DeployResult).filter_by(deploy_task_id=task_id)}
    assert (rows["a"].status, rows["a"].error) == ("unknown", "the client is not registered any more")
    assert rows["b"].status == ("success" if rollback else "running")
    if rollback:
        assert [rows[one].rollback.status for one in "ab"] == ["unknown", "running"]


def test_client_of_a_deploy_task_that_waits_to_go_on_stays(operator, served):
    """As one whose release window is closed; one that never began waits for its start, and is refused then."""
    with served.database.write() as session:
        create_fleet(session, {"web-01": "1.4"})
    asked = {"project_id": "shop", "version": "1.5", "auto_select_clients": True, "operation": "update"}
    task = operator.post("/release/tasks", json=asked).json()
    with served.database.write() as session:
        row = session.query(DeployTask).one()
        row.status, row.started_at = "scheduled", utc_now()
    assert task["id"] in assert_problem(operator.delete("/release/clients/web-01"), 409)["detail"]
    with served.database.write() as session:
        session.query(DeployTask).one().started_at = None
    assert operator.delete("/release/clients/web-01").status_code == 204


def test_environment_is_deleted_once_it_has_no_targets(operator, served):
    with served.database.write() as session:
        create_fleet(session, {"web-01": "1.4"})
    environment = operator.get("/release/projects/shop/environments").json()[0]
    where = f"/release/projects/shop/environments/{environment['id']}"
    assert "1 targets" in assert_problem(operator.delete(where), 409)["detail"]
    operator.delete("/release/clients/web-01")
    assert operator.delete(where).status_code == 204
    assert operator.get("/release/projects/shop/environments").json() == []


def test_clients_are_listed_by_name_in_pages(operator):
    for name in ("c", "a", "b"):
        make(operator, name)
    first = operator.get("/release/clients?limit=2")
    assert [one["client_id"] for one in first.json()] == ["a", "b"]
    second = operator.get(first.links["next"]["url"])
    assert [one["client_id"] for one in second.json()] == ["c"]
    assert "next" not in second.links


def targets_of(environment) -> str:
    return f"/release/environments/{environment.id}/targets"


def test_client_is_a_target_of_a_project_once_and_of_any_number_of_projects(operator: httpx.Client, served):
    with served.database.write() as session:
        shop, blog = create_project(session), create_project(session, "blog")
        prod, staging = create_environment(session, shop), create_environment(session, shop, "staging")
        other = create_environment(session, blog)
    make(operator)
    target = {"client_id": "web-01", "name": "web", "type": "host"}
    created = operator.post(targets_of(prod), json=target)
    assert created.status_code == 201
    assert created.json()["priority"] == 0
    assert created.json()["labels"] == {}
    assert created.json()["environment_id"] == prod.id
    assert_problem(operator.post(targets_of(staging), json=target), 409, mentions="'prod'")
    assert_problem(operator.post(targets_of(prod), json=target), 409)
    assert operator.post(targets_of(other), json=target).status_code == 201
    assert [one["name"] for one in operator.get(targets_of(prod)).json()] == ["web"]
    assert_problem(operator.post(targets_of(prod), json={**target, "client_id": "nobody"}), 404)
    assert_problem(operator.post(targets_of(prod), json={**target, "type": "k8s-cluster"}), 422, field="type")
    assert_problem(operator.get("/release/environments/nope/targets"), 404)
    assert_problem(operator.get(f"/release/environments/{blog.id}/targets"), 404)
