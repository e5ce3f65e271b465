"""The engine's own statistics, where control groups can't be read: a remote engine, a rootless one."""

import time
from typing import TYPE_CHECKING, Any

from agent.containers.cgroups import Usage, without_inactive
from agent.containers.engine import Engine
from agent.containers.threads import DaemonThreads

if TYPE_CHECKING:
    from docker import APIClient

THREADS = 16
_ONE_SHOT_SINCE = (1, 41)


Moved = tuple[int, int]
Answer = tuple[Usage, Moved | None]


def ask_usages(engine: Engine, container_ids: list[str]) -> dict[str, Answer]:
    """Usage and (received, sent) bytes of each container that is there; a thread for each, 16 at most.

    Raises EngineUnavailable as soon as one answer does not come.
    """
    if not container_ids:
        return {}
    threads = DaemonThreads(THREADS, "container-stats")
    try:
        answers = threads.map(lambda one: (one, _ask(engine, one)), container_ids)
        return {one: answer for one, answer in answers if answer is not None}
    finally:
        threads.shutdown()


def _ask(engine: Engine, container_id: str) -> Answer | None:
    import docker.errors

    try:
        with engine.api() as api:
            stats = api.stats(container_id, stream=False, **_one_shot(api))
    except docker.errors.APIError:
        return None  # it is gone, or going
    return _usage_of(stats, time.monotonic_ns())


def _one_shot(api: "APIClient") -> dict[str, bool]:
    version = tuple(int(part) for part in api.api_version.split(".")[:2])
    return {"one_shot": True} if version >= _ONE_SHOT_SINCE else {}


def _usage_of(stats: dict[str, Any], at_ns: int) -> Answer | None:
    memory, cpu = stats.get("memory_stats") or {}, stats.get("cpu_stats") or {}
    if "usage" not in memory:
        return None
    details = memory.get("stats") or {}
    inactive = int(details.get("total_inactive_file", details.get("inactive_file", 0)))
    usage = Usage(
        cpu_ns=int((cpu.get("cpu_usage") or {}).get("total_usage") or 0),
        at_ns=at_ns,
        memory_usage=without_inactive(int(memory["usage"]), inactive),
        memory_limit=int(memory.get("limit") or 0) or None,  # the engine's host's, at most
    )
    return usage, _moved(stats.get("networks"))


def _moved(networks: dict[str, Any] | None) -> Moved | None:
    if not networks:
        return None
    return (
        sum(int(one["rx_bytes"]) for one in networks.values()),
        sum(int(one["tx_bytes"]) for one in networks.values()),
    )
