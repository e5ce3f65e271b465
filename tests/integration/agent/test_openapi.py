"""schemathesis against a real agent's OpenAPI document: whatever comes in, no 5xx and a documented answer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.agents import TOKEN, AgentProcess
from tests.docker_engine import DockerEngine


@pytest.fixture
def agent(tmp_path: Path, docker_engine: DockerEngine) -> Iterator[AgentProcess]:
    """One with an engine: without, the container commands answer 503, as they should."""
    process = AgentProcess(tmp_path, HOIST_AGENT_DOCKER_HOST=docker_engine.url)
    try:
        yield process.start()
    finally:
        process.close()


def _harmless(value: Any, folder: Path) -> Any:
    """The same body, but what it would run here as root, or fetch, does nothing."""
    if isinstance(value, list):
        return [_harmless(one, folder) for one in value]
    if not isinstance(value, dict):
        return value
    known: dict[str, Any] = {
        "script": "true",
        "command": "true",
        "url": "http://127.0.0.1:9/",
        "host": "127.0.0.1",
    }
    known |= {"work_dir": str(folder / "work"), "path": str(folder / "file"), "interpreter": "/bin/sh"}
    known |= {"timeout_s": 1, "run_as": "no-such-user", "env": {}, "pull": "never"}
    return {
        name: known[name] if name in known and one else _harmless(one, folder) for name, one in value.items()
    }


def _check(operation: Any, agent: AgentProcess) -> int:
    """Twenty requests of one operation, the same ones in every run; how many were sent."""
    sent = []
    headers = {"Authorization": f"Bearer {TOKEN}"}

    @seed(20)
    @settings(
        max_examples=20,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def requests(case: Any) -> None:
        case.body = _harmless(case.body, agent.folder)
        response = case.call(base_url=str(agent.http.base_url), headers=headers)
        sent.append(response.status_code)
        assert response.status_code < 500, (case.formatted_path, case.body, response.text)
        if response.status_code >= 400:
            assert response.headers["content-type"][0].startswith("application/problem+json")
            assert response.json()["status"] == response.status_code

    requests()
    return len(sent)


def test_no_request_that_the_document_allows_makes_a_server_error(agent: AgentProcess):
    document = agent.get("/openapi.json")
    assert document["openapi"].startswith("3.1")
    schema = schemathesis.openapi.from_dict(document)
    checked = {}
    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr] # an Err would fail here, as it should
        checked[f"{operation.method.upper()} {operation.path}"] = _check(operation, agent)
    assert len(checked) == sum(len(methods) for methods in document["paths"].values())
    assert {"POST /v1/commands/release.execute", "PUT /v1/monitors/{project_id}"} <= checked.keys()
    assert min(checked.values()) >= 1
    assert agent.http.get("/healthz").status_code == 200


def test_every_command_has_types_of_its_own_and_problems_are_documented(agent: AgentProcess):
    document = agent.get("/openapi.json")
    bodies = [
        operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        for methods in document["paths"].values()
        for operation in methods.values()
        if "requestBody" in operation
    ]
    assert len(set(bodies)) == len(bodies)
    for methods in document["paths"].values():
        for operation in methods.values():
            assert "application/problem+json" in operation["responses"]["default"]["content"]
    text = str(document)
    named = {part.split("'")[0] for part in text.split("#/components/schemas/")[1:]}
    assert named <= document["components"]["schemas"].keys()
