"""The engine's own statistics, where control groups can't be read: a remote engine, a rootless one."""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from agent.containers.cgroups import Usage
from agent.containers.engine import Engine
from agent.containers.errors import EngineUnavailable

if TYPE_CHECKING:
    from docker import APIClient

THREADS = 16
_ONE_SHOT_SINCE = (1, 41)
_UNLIMITED = 2**62


def ask_usages(engine: Engine, container_ids: list[str]) -> dict[str, tuple[Usage, tuple[int, int] | None]]:
    """Usage and (received, sent) bytes of each container that answers; a thread for each, 16 at most."""
    if not container_ids:
        return {}
    with ThreadPoolExecutor(
        min(THREADS, len(container_ids)), thread_name_prefix="container-stats"
    ) as threads:
        answers = threads.map(lambda one: (one, _ask(engine, one)), container_ids)
        return {one: answer for one, answer in answers if answer is not None}


def _ask(engine: Engine, container_id: str) -> tuple[Usage, tuple[int, int] | None] | None:
    import docker.errors

    try:
        with engine.api() as api:
            stats = api.stats(container_id, stream=False, **_one_shot(api))
    except (docker.errors.APIError, EngineUnavailable):
        return None
    return _usage_of(stats)


def _one_shot(api: "APIClient") -> dict[str, bool]:
    version = tuple(int(part) for part in api.api_version.split(".")[:2])
    return {"one_shot": True} if version >= _ONE_SHOT_SINCE else {}


def _usage_of(stats: dict[str, Any]) -> tuple[Usage, tuple[int, int] | None] | None:
    memory, cpu = stats.get("memory_stats") or {}, stats.get("cpu_stats") or {}
    if "usage" not in memory:
        return None
    details = memory.get("stats") or {}
    inactive = int(details.get("total_inactive_file", details.get("inactive_file", 0)))
    usage, limit = int(memory["usage"]), int(memory.get("limit") or 0)
    networks = stats.get("networks")
    moved = None
    if networks:
        moved = (
            sum(int(one["rx_bytes"]) for one in networks.values()),
            sum(int(one["tx_bytes"]) for one in networks.values()),
        )
    return (
        Usage(
            cpu_ns=int((cpu.get("cpu_usage") or {}).get("total_usage") or 0),
            memory_usage=usage - inactive if inactive < usage else usage,
            memory_limit=limit if 0 < limit < _UNLIMITED else None,
        ),
        moved,
    )
