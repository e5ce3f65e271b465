"""A container engine in memory, asked as the Docker SDK asks one: for trying what goes wrong at every single call.

`Calls` counts the calls, and what the swap writes; `at` says at which of them `strike` is called.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import docker
import docker.errors

PORT = {"8080/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}


class _Answer:
    def __init__(self, status: int) -> None:
        self.status_code, self.reason, self.url = status, "", ""


def refusal(status: int, why: str) -> docker.errors.APIError:
    """What the SDK raises for such an answer."""
    kind = docker.errors.NotFound if status == 404 else docker.errors.APIError
    return kind(why, response=_Answer(status), explanation=why)


@dataclass
class Calls:
    """Every call before it is done and after it. `struck`: the one at which `strike` was called."""

    at: int | None = None
    strike: Callable[[str], None] = lambda _: None
    count: int = 0
    struck: str | None = None

    def note(self, what: str) -> None:
        self.count += 1
        if self.count == self.at:
            self.struck = what
            self.strike(what)


@dataclass
class Box:
    """One container."""

    name: str
    labels: dict[str, str]
    image: str
    port: bool
    networks: dict[str, list[str]]
    policy: str
    state: str = "created"
    finished: str = "0001-01-01T00:00:00Z"


@dataclass
class MemoryEngine:
    """Images whose name has `sick` in it never get healthy. A port is one container's at a time. `lost`: never start again."""

    calls: Calls = field(default_factory=Calls)
    boxes: dict[str, Box] = field(default_factory=dict)
    sick: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    _made: int = 0
    _stopped: int = 0

    def forget(self) -> None:
        """As new."""
        self.boxes.clear()
        self.sick.clear()
        self.lost.clear()
        self._made = self._stopped = 0

    @contextmanager
    def api(self, _timeout_s: float = 5.0) -> Iterator["MemoryEngine"]:
        yield self

    def create_host_config(self, **values: Any) -> dict[str, Any]:
        return docker.APIClient(base_url="unix:///nowhere", version="1.41").create_host_config(**values)

    def create_networking_config(self, values: dict[str, Any]) -> dict[str, Any]:
        return {"EndpointsConfig": values}

    def create_endpoint_config(self, **values: Any) -> dict[str, Any]:
        return values

    def containers(self, all: bool = True, filters: dict[str, Any] | None = None) -> list[dict[str, Any]]:  # noqa: A002 (the SDK's)
        self.calls.note("list")
        wanted = dict(one.split("=", 1) for one in (filters or {}).get("label", []))
        return [
            {"Id": key, "Names": [f"/{box.name}"]}
            for key, box in self.boxes.items()
            if wanted.items() <= box.labels.items()
        ]

    def inspect_container(self, key: str) -> dict[str, Any]:
        self.calls.note("inspect")
        box = self._box(key)
        state: dict[str, Any] = {"Status": box.state, "ExitCode": 0, "FinishedAt": box.finished}
        state["StartedAt"] = "2026-01-01T00:00:00Z"
        if box.state == "running":
            health = "unhealthy" if "sick" in box.image or key in self.sick else "healthy"
            now = datetime.now(UTC).isoformat()
            state["Health"] = {"Status": health, "FailingStreak": 3, "Log": [{"Start": now}]}
        return {
            "Id": key,
            "Name": f"/{box.name}",
            "Config": {"Labels": dict(box.labels), "Image": box.image},
            "State": state,
            "RestartCount": 0,
            "Image": f"sha256:{box.image}",
            "HostConfig": {"NetworkMode": "net", "PortBindings": PORT if box.port else {}},
            "NetworkSettings": {"Networks": {name: {"Aliases": has} for name, has in box.networks.items()}},
        }

    def inspect_image(self, image: str) -> dict[str, Any]:
        self.calls.note("image")
        return {"Id": f"sha256:{image}"}

    def create_container(self, name: str, labels: dict[str, str], **asked: Any) -> dict[str, Any]:
        self.calls.note("before create")
        if any(box.name == name for box in self.boxes.values()):
            raise refusal(409, f"the container name {name} is already in use by another container")
        host, networking = asked["host_config"], asked.get("networking_config") or {}
        joined = {one: [] for one in networking.get("EndpointsConfig", {})}
        self._made += 1
        key = f"id-{self._made}"
        policy = (host.get("RestartPolicy") or {}).get("Name", "no")
        self.boxes[key] = Box(name, labels, asked["image"], bool(host.get("PortBindings")), joined, policy)
        self.calls.note("after create")
        return {"Id": key}

    def connect_container_to_network(self, key: str, network: str, aliases: list[str] | None = None) -> None:
        self.calls.note("before connect")
        self._box(key).networks[network] = list(aliases or [])
        self.calls.note("after connect")

    def disconnect_container_from_network(self, key: str, network: str) -> None:
        self.calls.note("before disconnect")
        del self._box(key).networks[network]
        self.calls.note("after disconnect")

    def start(self, key: str) -> None:
        self.calls.note("before start")
        box = self._box(key)
        running = [one for one in self.boxes.values() if one.state == "running" and one is not box]
        if box.port and any(one.port for one in running):
            raise refusal(500, "port is already allocated")
        if key in self.lost:
            raise refusal(500, "OCI runtime create failed")
        box.state = "running"
        self.calls.note("after start")

    def update_container(self, key: str, restart_policy: dict[str, Any]) -> None:
        self.calls.note("before update")
        self._box(key).policy = restart_policy["Name"]
        self.calls.note("after update")

    def stop(self, key: str, timeout: int) -> None:
        self.calls.note("before stop")
        box = self._box(key)
        if box.state == "running":
            self._stopped += 1
            box.state, box.finished = "exited", f"2026-01-01T00:00:{self._stopped:02d}Z"
        self.calls.note("after stop")

    def remove_container(self, key: str, v: bool, force: bool) -> None:
        self.calls.note("before remove")
        self._box(key)
        del self.boxes[key]
        self.calls.note("after remove")

    def logs(self, key: str, tail: int) -> bytes:
        self.calls.note("logs")
        self._box(key)
        return b"the application starts\n"

    def _box(self, key: str) -> Box:
        if key not in self.boxes:
            raise refusal(404, f"No such container: {key}")
        return self.boxes[key]
