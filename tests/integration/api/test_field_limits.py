"""Each field at its limit is taken and stored, and one beyond it is refused by name: on both databases."""

import json
from typing import Any

import pytest
from sqlalchemy import func, select

from db.models import Client
from db.models.base import Base
from db.secrets import sha256_hex
from tests.builders import NOW, create_fleet, create_project, create_target
from tests.served_api import OPERATOR, ServedApi, assert_problem

REPORT_TOKEN = "the-report-token-of-web-01"
MARKER = "marker-3141592653"
KIB = 1024
RULE = {"type": "name", "pattern": "shop", "name": "shop"}
CHECK = {"type": "tcp", "port": 80}


@pytest.fixture
def fleet(served: ServedApi) -> ServedApi:
    """A project `shop` whose clients have 1.4, an empty project `spare`, and a client that is nobody's target."""
    with served.database.write() as session:
        _, environment = create_fleet(session, {"web-01": "1.4", "web-02": "1.4"})
        create_project(session, "spare")
        session.get_one(Client, "web-01").report_token_sha256 = sha256_hex(REPORT_TOKEN)
        served.environment_id = environment.id
        served.target_id = create_target(session, environment, "web-03").id
        session.add(
            Client(client_id="free", url="https://free.example", report_token_sha256="0" * 64, labels={})
        )
    return served


def rows(served: ServedApi) -> dict[str, int]:
    with served.database.read() as session:
        tables = Base.metadata.tables
        return {name: session.scalar(select(func.count()).select_from(tables[name])) for name in tables}


def many(count: int) -> list[dict[str, str]]:
    return [{**RULE, "name": f"rule {number}"} for number in range(count)]


def labels(count: int = 1, key: int = 1, value: int = 1) -> dict[str, str]:
    return {f"{number:0{key}d}": "v" * value for number in range(count)}


def nested(path: str, value: Any) -> dict[str, Any]:
    """`a.b` as {"a": {"b": value}}."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


def merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    both = base | more
    return both | {
        name: merged(base[name], more[name])
        for name in base.keys() & more.keys()
        if isinstance(base[name], dict) and isinstance(more[name], dict)
    }


TASKS: list[tuple[str, list[Any], list[Any]]] = [
    ("strategy.waves", [[1] * 100, ["1%"], ["100%"], [1], [1_000_000]], [[1] * 101, []]),
    ("strategy.waves", [], [["0%"], ["101%"], ["01%"], ["1.5%"], ["-1%"], ["%"], [0], [-1], [1_000_001], [1.5]]),
    ("strategy.max_parallel", [1, 1000], [0, 1001, 1.5, "many", None]),
    ("strategy.max_failures", [0, 1_000_000, "1%", "100%"], [-1, 1_000_001, "0%", "101%", 0.5, None]),
    ("strategy.stable_for_s", [0, 3600], [-0.001, 3600.001, "Infinity", "nan"]),
    ("strategy.health_timeout_s", [1, 86_400], [0.999, 86_400.001, "-inf"]),
    ("strategy.batch", [], [1]),
    ("timeout_s", [1, 86_400], [0, 86_401, 10**30]),
    ("env", [{f"A{n}": "" for n in range(200)}], [{f"A{n}": "" for n in range(201)}]),
    ("env", [{"A": "x" * 32 * KIB}, {"A" * 128: "x"}], [{"A": "x" * (32 * KIB + 1)}, {"A" * 129: "x"}, {"": "x"}]),
    ("exclude_client_ids", [["web-02"]], [["x" * 64], [""], ["a b"], ["-x"], ["x"] * 100_001]),
    ("created_by", ["x" * 200], ["x" * 201]),
    ("version", [], ["x" * 101, ""]),
    ("source_version", [], ["x" * 101, "1 4"]),
    ("environment", [], ["x" * 101, ""]),
    ("selector.labels", [], [{}, labels(65), labels(key=64), labels(value=201), {"": "x"}]),
    ("failure_strategy", ["continue"], ["retry"]),
]  # fmt: skip
VERSIONS: list[tuple[str, list[Any], list[Any]]] = [
    ("version", ["v" * 100], ["v" * 101, "", "1/5"]),
    ("description", ["d" * 2000], ["d" * 2001]),
    ("work_dir", ["/" + "w" * 4095], ["/" + "w" * 4096, ""]),
    *(
        (f"{name}_script", ["#" * 512 * KIB], ["#" * (512 * KIB + 1)])
        for name in ("install", "update", "rollback", "uninstall")
    ),
    ("timeout_s", [1, 86_400], [0, 86_401]),
    ("interpreter", ["/" + "i" * 4095], ["/" + "i" * 4096, "sh"]),
    ("run_as", ["u" * 32], ["u" * 33, ""]),
    ("env", [{f"A{n}": "" for n in range(200)}], [{f"A{n}": "" for n in range(201)}]),
    ("env", [{"A": "é" * 32 * KIB}], [{"A": "x" * (32 * KIB + 1)}]),
    ("process_config.rules", [many(50)], [many(51), many(1) * 2]),
    ("process_config.rules", [[RULE | {"name": "n" * 100}]], [[RULE | {"name": "n" * 101}], [RULE | {"name": ""}]]),
    ("process_config.rules", [[RULE | {"pattern": "p" * 500}]], [[RULE | {"pattern": "p" * 501}], [RULE | {"pattern": ""}]]),
    ("process_config.collect_interval", [5, 86_400], [4, 0, -60, 86_401]),
    ("process_config.alert_on_high_cpu", [0.1, 100_000], [0, 100_000.1, "inf"]),
    ("process_config.alert_on_high_mem", [0.1, 100], [0, 100.1, "nan"]),
    ("evidence.checks", [[CHECK] * 20], [[CHECK] * 21]),
    ("evidence.checks", [[{**CHECK, "port": 65_535, "timeout_s": 60}]], [[{**CHECK, "port": 65_536}], [{**CHECK, "port": 0}]]),
    ("evidence.checks", [[{**CHECK, "host": "h" * 253}]], [[{**CHECK, "host": "h" * 254}], [{**CHECK, "timeout_s": 60.1}]]),
    ("evidence.version_probe.command", ["c" * 4096], ["c" * 4097, ""]),
    ("evidence.version_probe.pattern", ["p" * 500], ["p" * 501]),
    ("evidence.version_probe.timeout_s", [0.1, 60], [0, 60.1, "Infinity"]),
]  # fmt: skip
OTHERS: list[tuple[str, str, dict[str, Any], str, list[Any], list[Any]]] = [
    ("POST", "/projects", {"name": "p", "type": "script"}, "name", ["n" * 100, "n"], ["n" * 101, "", " n", "a/b"]),
    ("POST", "/projects", {"name": "p", "type": "script"}, "description", ["d" * 2000], ["d" * 2001]),
    ("PATCH", "/projects/spare", {}, "default_strategy.waves", [[1] * 100], [[1] * 101, ["0%"]]),
    ("POST", "/projects/spare/environments", {"name": "e"}, "name", ["n" * 100], ["n" * 101, ""]),
    ("POST", "/clients", {"url": "https://new.example"}, "client_id", ["c" * 63, "0"], ["c" * 64, "", "é", ".x", "a\n"]),
    ("POST", "/clients", {"client_id": "new"}, "url", ["https://h/" + "p" * 1990], ["https://h/" + "p" * 1991, ""]),
    ("POST", "/clients", {"client_id": "new", "url": "https://h"}, "token", ["t" * 4096], ["t" * 4097, "", "a b"]),
    ("PATCH", "/clients/free", {}, "labels", [labels(64, 63, 200)], [labels(65), labels(key=64), labels(value=201), {"": ""}]),
    ("PATCH", "/clients/free", {}, "held.reason", ["r" * 500], ["r" * 501, ""]),
    ("POST", "/clients/free/rotate", {}, "overlap_s", [0, 2_592_000], [-1, 2_592_001, "inf", 1.5]),
    ("POST", "/environments/{environment}/targets", {"client_id": "free"}, "name", ["n" * 100], ["n" * 101, ""]),
    ("POST", "/environments/{environment}/targets", {"client_id": "free", "name": "n"}, "priority", [1000], [1001, -1001]),
    ("POST", "/projects/shop/installations", {"target_id": "{target}"}, "version", ["v" * 100], ["v" * 101, ""]),
]  # fmt: skip


def task_body(**more: Any) -> dict[str, Any]:
    return {
        "project_id": "shop",
        "version": "1.5",
        "operation": "update",
        "auto_select_clients": True,
        **more,
    }


def version_body(**more: Any) -> dict[str, Any]:
    evidence = {
        "version_probe": {"type": "command", "command": "app"},
        "checks": [{"type": "tcp", "port": 80}],
    }
    return {"project_id": "shop", "version": "2.0", "work_dir": "/srv/shop", "evidence": evidence, **more}


def ask(served: ServedApi, method: str, path: str, body: Any) -> Any:
    places = {"environment": served.environment_id, "target": served.target_id}
    text = json.dumps(body).replace("{target}", served.target_id)
    headers = {"Content-Type": "application/json"}
    return served.operator.request(method, f"/release{path.format(**places)}", content=text, headers=headers)


def refuse(served: ServedApi, method: str, path: str, body: dict[str, Any], field: str) -> None:
    """It is a 422 that names the field, quotes nothing of the input, and changes no table."""
    before = rows(served)
    answer = ask(served, method, path, body)
    problem = assert_problem(answer, 422)
    named = [error["field"] for error in problem["errors"]]
    assert any(one == field or one.startswith(f"{field}.") for one in named), problem
    assert all(error.keys() == {"field", "message"} for error in problem["errors"])
    assert MARKER not in answer.text
    for character in "xnvdw#cpthru":
        assert character * 20 not in answer.text
    assert len(answer.text) < 10_000
    assert rows(served) == before


@pytest.mark.parametrize(("field", "good", "bad"), TASKS, ids=[row[0] for row in TASKS])
def test_deploy_tasks(fleet: ServedApi, field: str, good: list[Any], bad: list[Any]):
    for value in bad:
        refuse(fleet, "POST", "/tasks", merged(task_body(created_by=MARKER), nested(field, value)), field)
    for value in good:
        answer = ask(fleet, "POST", "/tasks", merged(task_body(), nested(field, value)))
        assert answer.status_code == 201, (value, answer.text)
        assert answer.json()["status"] == "pending"


@pytest.mark.parametrize(("field", "good", "bad"), VERSIONS, ids=[row[0] for row in VERSIONS])
def test_versions(fleet: ServedApi, field: str, good: list[Any], bad: list[Any]):
    for value in bad:
        refuse(
            fleet, "POST", "/versions", merged(version_body(description=MARKER), nested(field, value)), field
        )
    for number, value in enumerate(good):
        body = merged(version_body(version=f"2.{number}"), nested(field, value))
        answer = ask(fleet, "POST", "/versions", body)
        assert answer.status_code == 201, (value, answer.text)
        stored = fleet.operator.get(f"/release/versions/{answer.json()['id']}").json()
        for name in field.split("."):
            stored = stored[name]
        assert len(stored) == len(value) if isinstance(value, (str, list, dict)) else stored == value


@pytest.mark.parametrize(
    ("method", "path", "base", "field", "good", "bad"), OTHERS, ids=[f"{row[1]}-{row[3]}" for row in OTHERS]
)
def test_everything_else(
    fleet: ServedApi, method: str, path: str, base: dict, field: str, good: list[Any], bad: list[Any]
):
    for value in bad:
        refuse(fleet, method, path, merged(base, nested(field, value)), field)
    for value in good:
        answer = ask(fleet, method, path, merged(base, nested(field, value)))
        assert answer.status_code in (200, 201), (value, answer.text)


CONTAINER = {
    "container_id": "c" * 64,
    "container_name": "shop-1",
    "image": "shop:1",
    "status": "Up",
    "state": "running",
    "created_at": NOW.isoformat(),
}


def report(field: str, number: str) -> tuple[str, str]:
    process = {
        "pid": 1,
        "name": "x",
        "start_time": NOW.isoformat(),
        "status": "running",
        "matched_by": "shop",
    }
    body = {"client_id": "web-01", "project_id": "shop", "version": "1.4", "reported_at": NOW.isoformat()}
    return "/process-report", _with(body | {"processes": [process | {field: "@"}]}, number)


def _with(body: dict[str, Any], number: str) -> str:
    return json.dumps(body).replace('"@"', number)


@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "NaN", "1e999", "-1e999"])
def test_numbers_that_are_none_store_nothing(fleet: ServedApi, number: str):
    asked = [
        ("/tasks", _with(task_body(strategy={"stable_for_s": "@"}), number)),
        ("/tasks", _with(task_body(strategy={"health_timeout_s": "@"}), number)),
        ("/tasks", _with(task_body(timeout_s="@"), number)),
        ("/versions", _with(version_body(process_config={"alert_on_high_cpu": "@"}), number)),
        ("/versions", _with(version_body(evidence={"checks": [{**CHECK, "timeout_s": "@"}]}), number)),
        ("/clients/free/rotate", _with({"overlap_s": "@"}, number)),
        (f"/environments/{fleet.environment_id}/targets", _with({"client_id": "free", "name": "n", "priority": "@"}, number)),
        ("/projects", _with({"name": "p", "type": "script", "default_strategy": {"stable_for_s": "@"}}, number)),
        report("cpu_percent", number),
        report("memory_mb", number),
        ("/container-report", _with({"client_id": "web-01", "reported_at": NOW.isoformat(), "containers": [CONTAINER | {"cpu_percent": "@"}]}, number)),
    ]  # fmt: skip
    before = rows(fleet)
    for path, body in asked:
        token = REPORT_TOKEN if path.endswith("-report") else OPERATOR
        answer = fleet.client(token).post(
            f"/release{path}", content=body, headers={"Content-Type": "application/json"}
        )
        problem = assert_problem(answer, 400)
        assert number not in json.dumps(problem), path
    assert rows(fleet) == before
