"""The container collector: one list from the engine, then the kernel's own figures of what runs."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agent.containers.cgroups import Cgroups, Usage, host_memory, network_bytes
from agent.containers.details import Detail, inspect, key_of
from agent.containers.engine import Engine
from agent.containers.usage import ask_usages
from agent.naming import Claim, owner_of
from agent.wire.containers import MAX_CONTAINERS, CollectedContainers, ContainerInfo

SEPARATORS = ("-", "_", ".")
_HEALTH = {"healthy)": "healthy", "unhealthy)": "unhealthy", "health: starting)": "starting"}
_STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
Moved = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Sample:
    started_at: datetime | None
    cpu_ns: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class _Measured:
    usage: Usage
    moved: Moved | None
    cpu_percent: float | None


class ContainerCollector:
    """Blocking, one collection at a time. CPU is between two collections: null at the first look at a container.

    `cgroups` None: the engine is asked for statistics instead (a remote engine, a rootless one).
    """

    def __init__(
        self,
        engine: Engine,
        cgroups: Cgroups | None = None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._engine = engine
        self._cgroups = cgroups or (Cgroups() if engine.socket is not None else None)
        self._monotonic_ns = monotonic_ns
        self._memory = host_memory()
        self._details: dict[str, Detail] = {}
        self._samples: dict[str, _Sample] = {}
        self._lock = threading.Lock()

    def collect(self, prefixes: Sequence[str] = (), *, measured: bool = True) -> CollectedContainers:
        """All containers, or those that a prefix covers, oldest first. Raises EngineUnavailable."""
        with self._lock, self._engine.api() as api:
            listed = list(api.containers(all=True))
            self._forget({str(one["Id"]) for one in listed})
            claims = [Claim(prefix, prefix, separator) for prefix in prefixes for separator in SEPARATORS]
            owned = [(one, owner_of(_name_of(one), claims)) for one in listed]
            wanted = [(one, claim) for one, claim in owned if claim is not None or not prefixes]
            details = {one["Id"]: self._detail(api, one) for one, _ in wanted}
            running = [
                (one, detail)
                for one, _ in wanted
                if (detail := details[one["Id"]]) is not None and detail.pid
            ]
            figures = self._measure(running) if measured else {}
        infos = [
            _info(one, detail, figures.get(one["Id"]), claim.prefix if claim else None, self._memory)
            for one, claim in wanted
            if (detail := details[one["Id"]]) is not None
        ]
        infos.sort(key=lambda info: (info.created_at, info.container_name))
        return CollectedContainers(
            docker_version=self._engine.version(),
            containers=tuple(infos[:MAX_CONTAINERS]),
            collected_at=datetime.now(UTC),
        )

    def _forget(self, present: set[str]) -> None:
        for memory in (self._details, self._samples):
            for gone in memory.keys() - present:
                del memory[gone]

    def _detail(self, api: Any, listed: dict[str, Any]) -> Detail | None:
        known = self._details.get(listed["Id"])
        if known is None or not known.holds(key_of(listed)):
            known = inspect(api, listed, self._cgroups)
            if known is not None:
                self._details[listed["Id"]] = known
        return known

    def _measure(self, running: Sequence[tuple[dict[str, Any], Detail]]) -> dict[str, _Measured]:
        found: dict[str, _Measured] = {}
        unread = []
        for listed, detail in running:
            usage = detail.group.read() if detail.group is not None else None
            if usage is None:
                unread.append((listed["Id"], detail))
                continue
            moved = network_bytes(detail.pid) if _has_network(listed) else None
            found[listed["Id"]] = self._measured(listed["Id"], detail, usage, moved)
        details = dict(unread)
        for container_id, (usage, moved) in ask_usages(self._engine, [one for one, _ in unread]).items():
            found[container_id] = self._measured(container_id, details[container_id], usage, moved)
        return found

    def _measured(self, container_id: str, detail: Detail, usage: Usage, moved: Moved | None) -> _Measured:
        now = _Sample(detail.started_at, usage.cpu_ns, self._monotonic_ns())
        before = self._samples.get(container_id)
        self._samples[container_id] = now
        percent = None
        if before is not None and before.started_at == now.started_at and now.at_ns > before.at_ns:
            percent = max(0.0, (now.cpu_ns - before.cpu_ns) / (now.at_ns - before.at_ns) * 100)
        return _Measured(usage, moved, percent)


def _name_of(listed: dict[str, Any]) -> str:
    """Without the leading slash; a name with a second one is a link's (legacy), not the container's own."""
    names = [str(name).removeprefix("/") for name in listed.get("Names") or ()]
    return next((name for name in names if "/" not in name), str(listed["Id"])[:12])


def _has_network(listed: dict[str, Any]) -> bool:
    """Whether its figures are its own: with the host's network they would be the host's."""
    mode = str((listed.get("HostConfig") or {}).get("NetworkMode", ""))
    return mode not in ("host", "none") and not mode.startswith("container:")


def _info(
    listed: dict[str, Any], detail: Detail, measured: _Measured | None, prefix: str | None, host_bytes: int
) -> ContainerInfo:
    labels = listed.get("Labels") or {}
    status, state = str(listed.get("Status", ""))[:200], str(listed.get("State", ""))
    info = ContainerInfo(
        container_id=listed["Id"],
        container_name=_name_of(listed),
        image=str(listed.get("Image", ""))[:500],
        image_id=str(listed.get("ImageID", ""))[:200] or None,
        status=status,
        state=state if state in _STATES else "dead",
        created_at=datetime.fromtimestamp(int(listed["Created"]), UTC),
        started_at=detail.started_at,
        health=_HEALTH.get(status.partition("(")[2]),
        restart_count=detail.restart_count,
        exit_code=detail.exit_code,
        matched_prefix=prefix,
        version=_label(labels, "hoist.version", 100),
        project_id=_label(labels, "hoist.project", 200),
        client_id=_label(labels, "hoist.client", 63),
    )
    return info if measured is None else info.model_copy(update=_figures(measured, host_bytes))


def _figures(measured: _Measured, host_bytes: int) -> dict[str, Any]:
    usage = measured.usage
    limit = min(usage.memory_limit or host_bytes, host_bytes)
    received, sent = measured.moved or (None, None)
    return {
        "cpu_percent": None if measured.cpu_percent is None else round(measured.cpu_percent, 2),
        "memory_usage": usage.memory_usage,
        "memory_limit": limit,
        "memory_percent": round(usage.memory_usage / limit * 100, 2),
        "network_rx": received,
        "network_tx": sent,
    }


def _label(labels: dict[str, Any], name: str, longest: int) -> str | None:
    value = labels.get(name)
    return str(value)[:longest] if value else None
