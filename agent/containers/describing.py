"""One container as the wire has it, out of the engine's list, its inspection and what was measured."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agent.containers.cgroups import Usage
from agent.containers.details import Detail
from agent.containers.usage import Moved
from agent.wire.containers import ContainerInfo

_HEALTH = {"healthy)": "healthy", "unhealthy)": "unhealthy", "health: starting)": "starting"}
_STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")


@dataclass(frozen=True, slots=True)
class Figures:
    """What a running container uses now; `moved` None: its network is not its own."""

    usage: Usage
    moved: Moved | None
    cpu_percent: float | None


def name_of(listed: dict[str, Any]) -> str:
    """Without the leading slash; a name with a second one is a link's (legacy), not the container's own."""
    names = [str(name).removeprefix("/") for name in listed.get("Names") or ()]
    return next((name for name in names if "/" not in name), str(listed["Id"])[:12])


def has_network(listed: dict[str, Any]) -> bool:
    """Whether its figures are its own: with the host's network they would be the host's."""
    mode = str((listed.get("HostConfig") or {}).get("NetworkMode", ""))
    return mode not in ("host", "none") and not mode.startswith("container:")


def describe(
    listed: dict[str, Any], detail: Detail, figures: Figures | None, prefix: str | None
) -> ContainerInfo:
    """What is known of a container; its measurements are null without `figures`."""
    labels = listed.get("Labels") or {}
    status, state = str(listed.get("Status", ""))[:200], detail.state
    info = ContainerInfo(
        container_id=listed["Id"],
        container_name=name_of(listed)[:253],
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
    return info if figures is None else info.model_copy(update=_measurements(figures))


def _measurements(figures: Figures) -> dict[str, Any]:
    usage = figures.usage
    received, sent = figures.moved or (None, None)
    return {
        "cpu_percent": figures.cpu_percent,
        "memory_usage": usage.memory_usage,
        "memory_limit": usage.memory_limit,
        "memory_percent": round(usage.memory_usage / usage.memory_limit * 100, 2)
        if usage.memory_limit
        else None,
        "network_rx": received,
        "network_tx": sent,
    }


def _label(labels: dict[str, Any], name: str, longest: int) -> str | None:
    """Anybody may label a container: what the wire would refuse is cut off, or taken out."""
    return str(labels.get(name) or "").replace("\x00", "")[:longest] or None
