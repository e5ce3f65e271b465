"""The agent's HTTP side under bad input: a clear problem each time, and nothing done."""

import json
from pathlib import Path

import pytest

from tests.agents import TOKEN, AgentProcess, command_for

EXECUTE = "/v1/commands/release.execute"


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    process = AgentProcess(tmp_path_factory.mktemp("agent"))
    try:
        yield process.start()
    finally:
        process.close()


@pytest.mark.parametrize(
    "fields",
    [
        {"execution_id": ""},
        {"execution_id": ".hidden"},
        {"execution_id": "../up"},
        {"execution_id": "a/b"},
        {"execution_id": "x" * 201},
        {"project_id": "a b"},
        {"operation": "destroy"},
        {"version": ""},
        {"version": "1 2"},
        {"script": ""},
        {"script": "a\x00b"},
        {"script": "x" * (512 * 1024 + 1)},
        {"work_dir": "relative"},
        {"work_dir": "/srv/../etc"},
        {"timeout_s": 0},
        {"timeout_s": 86_401},
        {"timeout_s": "soon"},
        {"interpreter": "bash"},
        {"run_as": "Root; id"},
        {"env": {"BAD NAME": "x"}},
        {"env": {"A": "x\x00"}},
        {"env": {f"A{n}": "" for n in range(201)}},
        {"detach_method": "screen"},
        {"fence": -1},
        {"canary": True},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_bad_field_is_named_and_nothing_runs(one: AgentProcess, fields: dict):
    answer = one.post(EXECUTE, command_for(one.folder, "bad", f"touch {one.folder}/ran") | fields)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == 422
    assert [error["field"].split(".")[0] for error in problem["errors"]] == list(fields)
    assert "x" * 100 not in answer.text
    assert one.http.get("/v1/executions/bad").status_code == 404
    assert not (one.folder / "ran").exists()


@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "NaN", "1e999"])
def test_infinities_are_refused(one: AgentProcess, number: str):
    body = json.dumps(command_for(one.folder, "bad", "true"))[:-1] + f', "timeout_s": {number}}}'
    answer = one.http.post(EXECUTE, content=body)
    assert answer.status_code in (400, 422)
    assert one.http.get("/v1/executions/e?wait_s=inf").status_code == 422


@pytest.mark.parametrize("body", [b"{", b"", b"[]", b"null", b'"\xff"', b"[" * 100_000])
def test_broken_body_is_refused(one: AgentProcess, body: bytes):
    answer = one.http.post(EXECUTE, content=body)
    assert answer.status_code in (400, 422)
    assert answer.json()["status"] == answer.status_code


def test_two_megabytes_are_refused_also_when_the_length_is_not_said(one: AgentProcess):
    whole = one.http.post(EXECUTE, content=b"x" * 2_000_000)
    pieces = one.http.post(EXECUTE, content=(b"x" * 50_000 for _ in range(40)))
    assert (whole.status_code, pieces.status_code) == (413, 413)
    assert whole.json()["title"] == "Too large"


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xe9"]
)
def test_wrong_credentials_are_refused(one: AgentProcess, header: str):
    answer = one.http.get("/v1/info", headers={b"Authorization": header.encode("latin-1")})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.text


def test_health_and_document_need_no_token(one: AgentProcess):
    for path in ("/healthz", "/openapi.json"):
        assert one.http.get(path, headers={"Authorization": ""}).status_code == 200


def test_another_host_header_is_refused(one: AgentProcess):
    assert one.http.get("/healthz", headers={"Host": "attacker.example"}).status_code == 421
    assert one.http.get("/healthz", headers={"Host": "localhost:1"}).status_code == 200


def test_unknown_path_method_and_execution(one: AgentProcess):
    for method, path, status in (
        ("GET", "/v1/nothing", 404),
        ("GET", EXECUTE, 405),
        ("GET", "/v1/executions/unknown", 404),
        ("GET", "/v1/executions/.hidden/log", 404),
        ("POST", "/v1/executions/unknown/cancel", 404),
        ("GET", "/v1/executions/x?wait_s=61", 422),
        ("GET", "/v1/executions/x?wait=1", 422),
        ("GET", "/v1/executions/x/log?offset=-1", 422),
    ):
        answer = one.http.request(method, path)
        assert (answer.status_code, answer.json()["status"]) == (status, status), path


def test_info_says_who_and_what(one: AgentProcess):
    info = one.get("/v1/info")
    assert (info["client_id"], info["wire_version"]) == ("web-1", 2)
    assert {"setsid", "nohup"} <= set(info["detach_methods"])
    assert info["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_token_is_made_at_first_start_and_kept(tmp_path: Path):
    process = AgentProcess(tmp_path, HOIST_AGENT_TOKEN="")
    try:
        process.start()
        file = process.state_dir / "token"
        assert file.stat().st_mode & 0o777 == 0o600
        token = {"Authorization": f"Bearer {file.read_text().strip()}"}
        assert process.http.get("/v1/info", headers=token).status_code == 200
        process.kill()
        process.start()
        assert process.http.get("/v1/info", headers=token).status_code == 200
    finally:
        process.close()
