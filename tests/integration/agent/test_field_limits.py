"""The agent's fields at their limits, which are taken, and one beyond, which are refused by name and do nothing."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.agents import AgentProcess, command_for

KIB = 1024
EXECUTE, CHECK = "/v1/commands/release.execute", "/v1/commands/release.check"
COLLECT, MONITOR = "/v1/commands/process.collect", "/v1/monitors/shop"
RULE = {"type": "name", "pattern": "no-such-process", "name": "shop"}
TCP = {"type": "tcp", "port": 9, "timeout_s": 0.1}


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Iterator[AgentProcess]:
    process = AgentProcess(tmp_path_factory.mktemp("agent"))
    try:
        yield process.start()
    finally:
        process.close()


def many(count: int) -> list[dict[str, str]]:
    return [{**RULE, "name": f"rule {number}"} for number in range(count)]


def script(size: int) -> str:
    return "true\n#".ljust(size, "#")


ROWS: list[tuple[str, str, list[Any], list[Any]]] = [
    (EXECUTE, "execution_id", ["x" * 200], ["x" * 201, ""]),
    (EXECUTE, "release_id", ["x" * 200], ["x" * 201, ".x"]),
    (EXECUTE, "project_id", ["x" * 200], ["x" * 201]),
    (EXECUTE, "target_id", ["x" * 200], ["x" * 201]),
    (EXECUTE, "version", ["v" * 100], ["v" * 101]),
    (EXECUTE, "previous_version", ["v" * 100], ["v" * 101]),
    (EXECUTE, "script", [script(512 * KIB)], [script(512 * KIB + 1)]),
    (EXECUTE, "work_dir", [], ["/" + "w" * 4096]),
    (EXECUTE, "timeout_s", [86_400], [0, 86_401, 0.5, "inf"]),
    (EXECUTE, "interpreter", [], ["/" + "i" * 4096]),
    (EXECUTE, "run_as", [], ["u" * 33]),
    (EXECUTE, "env", [{f"A{n}": "" for n in range(200)}], [{f"A{n}": "" for n in range(201)}]),
    (EXECUTE, "env", [{"A": "x" * 32 * KIB}, {"A" * 128: "x"}], [{"A": "x" * (32 * KIB + 1)}, {"A" * 129: "x"}]),
    (EXECUTE, "client_id", ["web-1"], ["c" * 64, ""]),
    (EXECUTE, "fence", [0], [-1, 2**53 + 1, 1.5]),
    (COLLECT, "rules", [[], many(50)], [many(51), many(1) * 2, None]),
    (COLLECT, "rules", [[RULE | {"pattern": "p" * 500}]], [[RULE | {"pattern": "p" * 501}], [RULE | {"pattern": ""}]]),
    (COLLECT, "rules", [[RULE | {"name": "n" * 100}]], [[RULE | {"name": "n" * 101}], [RULE | {"name": ""}]]),
    (CHECK, "checks", [[TCP] * 20], [[TCP] * 21]),
    (CHECK, "checks", [[TCP | {"port": 65_535}]], [[TCP | {"port": 65_536}], [TCP | {"port": 0}], [TCP | {"timeout_s": 60.1}]]),
    (CHECK, "version_probe", [{"type": "command", "command": "true #".ljust(4096, "#")}], [{"type": "command", "command": "#" * 4097}]),
    (CHECK, "version_probe", [], [{"type": "file", "path": "/x", "timeout_s": 0}, {"type": "file", "path": "/x", "pattern": "p" * 501}]),
    (MONITOR, "process_config.collect_interval", [5, 86_400], [4, 0, -1, 86_401]),
    (MONITOR, "process_config.rules", [many(50)], [many(51)]),
    (MONITOR, "process_config.alert_on_high_cpu", [100_000], [0, 100_000.1, "nan"]),
    (MONITOR, "process_config.alert_on_high_mem", [100], [0, 100.1, "Infinity"]),
    (MONITOR, "version", ["v" * 100], ["v" * 101]),
    (MONITOR, "fence", [0], [-1, 2**53 + 1]),
]  # fmt: skip


def body_for(one: AgentProcess, path: str, execution_id: str) -> dict[str, Any]:
    if path == EXECUTE:
        return command_for(one.folder, execution_id, f"touch {one.folder}/ran", project_id=execution_id)
    if path == MONITOR:
        return {"version": "1.0", "release_id": "r", "process_config": {}}
    return {"project_id": "shop"} | ({"rules": []} if path == COLLECT else {"work_dir": str(one.folder)})


def nested(body: dict[str, Any], field: str, value: Any) -> dict[str, Any]:
    first, _, rest = field.partition(".")
    return body | {first: nested(body.get(first) or {}, rest, value) if rest else value}


def send(one: AgentProcess, path: str, body: dict[str, Any]) -> Any:
    return one.http.request("PUT" if path == MONITOR else "POST", path, json=body)


def left_behind(one: AgentProcess) -> list[str]:
    """Everything the agent keeps of what it was asked."""
    return sorted(str(path.relative_to(one.state_dir)) for path in one.state_dir.rglob("*"))


@pytest.mark.parametrize(
    ("path", "field", "good", "bad"), ROWS, ids=[f"{row[0].rpartition('/')[2]}-{row[1]}" for row in ROWS]
)
def test_limit_is_taken_and_one_beyond_it_is_named(
    one: AgentProcess, request, path: str, field: str, good: list[Any], bad: list[Any]
):
    before = left_behind(one)
    for value in bad:
        answer = send(one, path, nested(body_for(one, path, "bad"), field, value))
        assert answer.status_code == 422, (value, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        named = [error["field"] for error in answer.json()["errors"]]
        assert any(one_ == field or one_.startswith(f"{field}.") for one_ in named), answer.text
        for character in "xvwucpn#":
            assert character * 20 not in answer.text
        assert len(answer.text) < 10_000
    assert left_behind(one) == before
    assert not (one.folder / "ran").exists()
    for number, value in enumerate(good):
        body = nested(
            body_for(one, path, f"good-{ROWS.index((path, field, good, bad))}-{number}"), field, value
        )
        if path == EXECUTE and field != "script":
            body["script"] = "true"
        answer = send(one, path, body)
        assert answer.status_code in (200, 202), (value, answer.text)
        if path == EXECUTE:
            assert one.end_of(body["execution_id"])["state"] == "succeeded"


@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "NaN", "1e999"])
@pytest.mark.parametrize(
    ("path", "field"),
    [
        (EXECUTE, "timeout_s"),
        (EXECUTE, "fence"),
        (CHECK, "version_probe.timeout_s"),
        (MONITOR, "process_config.collect_interval"),
        (MONITOR, "process_config.alert_on_high_cpu"),
    ],
)
def test_numbers_that_are_none_are_refused(one: AgentProcess, path: str, field: str, number: str):
    before = left_behind(one)
    body = body_for(one, path, "bad") | (
        {"version_probe": {"type": "command", "command": "x"}} if path == CHECK else {}
    )
    content = json.dumps(nested(body, field, "@")).replace('"@"', number)
    answer = one.http.request("PUT" if path == MONITOR else "POST", path, content=content)
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    if answer.status_code == 422:
        assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert number not in answer.text
    assert left_behind(one) == before
    assert not (one.folder / "ran").exists()
