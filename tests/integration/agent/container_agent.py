"""A real agent on the tests' own engine, and what it deploys there."""

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.agents import AgentProcess, free_port
from tests.docker_engine import DockerEngine
from tests.real_processes import wait_until

PROJECT = "shop"
NAMING = {"prefix": "shop"}
PHASES = [
    *("begin", "pull", "create", "stop_first", "start", "wait", "switch", "stop_previous", "prune", "revert"),
]


class ContainerAgent(AgentProcess):
    """`deploy()` brings the project's container to a version of the image `shop`."""

    def __init__(self, folder: Path, engine: DockerEngine, client_id: str = "web-1", **settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        own = {"HOIST_AGENT_DOCKER_HOST": engine.url, "HOIST_AGENT_CLIENT_ID": client_id}
        super().__init__(folder, **{**own, **settings})
        self.engine = engine
        self.client_id = client_id

    def request(self, execution_id: str, version: str, **fields: Any) -> dict[str, Any]:
        config = {
            "image": f"shop:{version}",
            "pull": "never",
            "stop_timeout_s": 3,
            **fields.pop("config", {}),
        }
        return {
            "execution_id": execution_id,
            "release_id": "task-1",
            "project_id": PROJECT,
            "target_id": "target-1",
            "operation": "deploy",
            "version": version,
            "naming": NAMING,
            "environment": "prod",
            "deploy_config": config,
            "stable_for_s": 1,
            "timeout_s": 60,
            **fields,
        }

    def begin(self, execution_id: str, version: str, **fields: Any) -> dict[str, Any]:
        body = self.request(execution_id, version, **fields)
        response = self.post("/v1/commands/container.deploy", body)
        assert response.status_code in (200, 202), response.text
        return response.json()

    def deploy(self, execution_id: str, version: str, **fields: Any) -> dict[str, Any]:
        """Deploy, and wait for the end."""
        self.begin(execution_id, version, **fields)
        return self.end_of(execution_id)

    def containers(self, state: str | None = None) -> dict[str, str]:
        """The client's own containers of the project, name → version."""
        found = self.engine.containers(label=[f"hoist.project={PROJECT}", f"hoist.client={self.client_id}"])
        return {
            one["Names"][0].removeprefix("/"): one["Labels"]["hoist.version"]
            for one in found
            if state is None or one["State"] == state
        }

    def serving(self) -> list[str]:
        """What every running container of the client answers, asked at its own address."""
        found = self.engine.containers(
            label=[f"hoist.project={PROJECT}", f"hoist.client={self.client_id}"], status="running"
        )
        return sorted(_ask(self.engine, one["Id"]) for one in found)


def phase_of(agent: ContainerAgent, execution_id: str) -> str | None:
    """How far a swap is by its own notes."""
    file = agent.state_dir / "executions" / execution_id / "swap.json"
    try:
        return str(json.loads(file.read_bytes())["phase"])
    except FileNotFoundError:
        return None


def wait_for_phase(agent: ContainerAgent, execution_id: str, phase: str) -> None:
    """Until the swap has come to `phase`, or farther."""

    def reached() -> bool:
        now = phase_of(agent, execution_id)
        return now is not None and PHASES.index(now) >= PHASES.index(phase)

    wait_until(reached)


def ask_port(port: int, timeout_s: float = 10) -> str:
    """What answers on a port of the host."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                return answer.read().decode().strip()
        except OSError:
            if time.monotonic() > deadline:
                raise


def _ask(engine: DockerEngine, container_id: str) -> str:
    networks = engine.api.inspect_container(container_id)["NetworkSettings"]["Networks"]
    address = next(one["IPAddress"] for one in networks.values() if one["IPAddress"])
    with urllib.request.urlopen(f"http://{address}:8080/", timeout=5) as answer:
        return answer.read().decode().strip()


__all__ = ["NAMING", "PROJECT", "ContainerAgent", "ask_port", "free_port", "phase_of", "wait_for_phase"]
