"""What holds for every request: tokens, roles, problems, body limits, idempotency keys, the audit trail."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from db.models import IdempotencyKey, Project
from tests.builders import create_fleet
from tests.served_api import assert_problem

PROJECTS = "/release/projects"
SHOP = {"name": "shop", "type": "script"}


def projects(served):
    with served.database.read() as session:
        return session.scalar(select(func.count()).select_from(Project))


@pytest.mark.parametrize("token", [None, "wrong", "x" * 5000])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", PROJECTS), ("POST", PROJECTS), ("GET", "/metrics"), ("GET", "/release/nope")]
)
def test_no_or_wrong_credentials_are_401(served, token, method, path):
    answer = served.client(token).request(method, path)
    assert_problem(answer, 401)
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_other_schemes_are_401(served):
    for header in ("Basic b3BlcmF0b3I6eA==", "Bearer", "operator-token-of-the-tests"):
        assert_problem(served.client(None, Authorization=header).get(PROJECTS), 401)


def test_some_pages_need_no_token(served):
    anonymous = served.client(None)
    for path in ("/healthz", "/readyz", "/openapi.json", "/docs"):
        assert anonymous.get(path).status_code == 200, path


def test_viewer_reads_and_changes_nothing(served):
    viewer = served.viewer
    assert viewer.get(PROJECTS).status_code == 200
    assert viewer.get("/metrics").status_code == 200
    for method, path in (("POST", PROJECTS), ("PATCH", f"{PROJECTS}/x"), ("DELETE", "/release/clients/x")):
        assert_problem(viewer.request(method, path, json=SHOP), 403)
    assert projects(served) == 0


def test_unknown_addresses_and_methods_are_problems(operator):
    assert_problem(operator.get("/release/nope"), 404)
    assert_problem(operator.get("/nope"), 404)
    answer = operator.put(PROJECTS, json={})
    assert_problem(answer, 405)
    assert "POST" in answer.headers["allow"] or "GET" in answer.headers["allow"]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        b"\xff\xfe",
        b'{"name": NaN}',
        b'{"name": Infinity}',
        b'{"name": 1e999}',
        b"[" * 100_000,
        b'{"name": ' + b"9" * 5000 + b"}",
    ],
)
def test_broken_json_is_400_or_422(operator, served, body):
    answer = operator.post(PROJECTS, content=body, headers={"content-type": "application/json"})
    assert_problem(answer, 422 if body == b"" else 400)
    assert projects(served) == 0


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"null", b"1"])
def test_other_json_than_an_object_is_422(operator, body):
    assert_problem(operator.post(PROJECTS, content=body), 422)


@pytest.mark.parametrize(
    "body",
    [
        b'{"name": "a\\u0000b", "type": "script"}',
        b'{"name": "a", "type": "script", "description": "\\ud800"}',
        b'{"name": "a", "type": "script", "\\u0000": 1}',
        b'{"name": "a", "type": "script", "default_strategy": {"max_parallel": 99999999999999999999}}',
    ],
)
def test_what_cannot_be_stored_is_422(operator, served, body):
    assert_problem(operator.post(PROJECTS, content=body), 422)
    assert projects(served) == 0


def test_input_is_not_echoed(operator):
    secret = "s3cret-value"
    answer = operator.post(PROJECTS, json={"name": f"{secret}/x", "type": secret, "default_strategy": secret})
    assert_problem(answer, 422)
    assert secret not in answer.text


def test_nul_in_the_address_is_422(operator):
    assert_problem(operator.get(f"{PROJECTS}/a%00b"), 422)
    assert_problem(operator.get(f"{PROJECTS}?cursor=%00"), 422)


@pytest.mark.parametrize("streamed", [False, True])
def test_large_bodies_are_413(operator, served, streamed):
    pieces = [b" " * 65_536] * 32
    answer = operator.post(PROJECTS, content=iter(pieces) if streamed else b"".join(pieces))
    assert_problem(answer, 413)
    just_fits = json.dumps(SHOP).encode().rjust(1024 * 1024)
    assert operator.post(PROJECTS, content=just_fits).status_code == 201
    assert projects(served) == 1


def test_foreign_host_header_is_421(served):
    assert_problem(served.client(None, Host="evil.example").get("/healthz"), 421)
    assert served.client(None, Host="localhost:1").get("/healthz").status_code == 200
    assert served.client(None, Host="[::1]:1").get("/healthz").status_code == 200


def test_same_key_and_request_is_done_once_and_answered_the_same(served, operator):
    body = {"client_id": "web-01", "url": "https://web-01.example"}
    key = {"Idempotency-Key": "k-1"}
    first = operator.post("/release/clients", json=body, headers=key)
    again = operator.post("/release/clients", json=body, headers=key)
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    with served.database.read() as session:
        kept = session.scalars(select(IdempotencyKey)).one()
        assert first.json()["report_token"] not in kept.answer_encrypted
    other = operator.post("/release/clients", json={**body, "client_id": "web-02"}, headers=key)
    assert_problem(other, 422)
    assert len(operator.get("/release/audit").json()) == 1


def test_refused_request_leaves_its_key_free(operator):
    key = {"Idempotency-Key": "k-1"}
    assert_problem(operator.post(f"{PROJECTS}/shop/environments", json={"name": "prod"}, headers=key), 404)
    operator.post(PROJECTS, json=SHOP)
    answer = operator.post(f"{PROJECTS}/shop/environments", json={"name": "prod"}, headers=key)
    assert answer.status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 201, "with space"])
def test_bad_idempotency_key_is_422(operator, key):
    assert_problem(operator.post(PROJECTS, json=SHOP, headers={"Idempotency-Key": key}), 422)


def test_concurrent_requests_with_one_key_make_one_thing(served):
    barrier = threading.Barrier(8)

    def post(_number):
        client = served.operator
        barrier.wait()
        return client.post(PROJECTS, json=SHOP, headers={"Idempotency-Key": "k"})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(post, range(8)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert any(answer.status_code == 201 for answer in answers)
    for answer in answers:
        if answer.status_code == 409:
            assert_problem(answer, 409, mentions="still running")
    assert projects(served) == 1
    assert served.operator.post(PROJECTS, json=SHOP, headers={"Idempotency-Key": "k"}).status_code == 201


def test_every_change_is_in_the_audit_trail(served, operator):
    with served.database.write() as session:
        create_fleet(session, {"web-01": "1.4"})
    operator.patch(f"{PROJECTS}/shop", json={"description": "x"})
    operator.patch("/release/clients/web-01", json={"token": "never-in-the-trail"})
    request = {"project_id": "shop", "version": "1.5", "operation": "update", "auto_select_clients": True}
    task = operator.post("/release/tasks", json=request).json()
    operator.post(f"/release/tasks/{task['id']}/cancel")
    trail = operator.get("/release/audit")
    assert [one["action"] for one in trail.json()] == [
        "deploy_task.cancel",
        "deploy_task.create",
        "client.change",
        "project.change",
    ]
    assert {one["who"] for one in trail.json()} == {"operator"}
    assert "never-in-the-trail" not in trail.text
    assert len(operator.get(f"/release/audit?task_id={task['id']}").json()) == 2
    assert len(operator.get("/release/audit?client_id=web-01").json()) == 1
    assert len(operator.get("/release/audit?project_id=shop&who=operator").json()) == 3
    assert operator.get("/release/audit?since=2199-01-01T00:00:00Z").json() == []
    assert len(operator.get("/release/audit?limit=1").json()) == 1
    for query in ("task_id=x", "project_id=x", "since=x"):
        assert_problem(operator.get(f"/release/audit?{query}"), 422)
