"""The container collector: one list from the engine, then the kernel's own figures of what runs."""

import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agent.containers.cgroups import Cgroups, Usage, network_bytes
from agent.containers.describing import Figures, describe, has_network, name_of
from agent.containers.details import Detail, inspect, key_of
from agent.containers.engine import Engine, errors_as_unavailable
from agent.containers.errors import EngineUnavailable
from agent.containers.prefixes import Prefixes
from agent.containers.samples import Sample, next_sample
from agent.containers.usage import Moved, ask_usages
from agent.wire.containers import MAX_CONTAINERS, CollectedContainers

if TYPE_CHECKING:
    from docker import APIClient

FIRST_INTERVAL_S = 0.25
"""Between the two looks at a container that was never looked at: a collection that is asked for once has its CPU too. It
is waited for once for each run of a container, and not longer for many of them; not where what has changed is more urgent."""
INSPECT_WITHIN_S = 15.0
"""A slow engine is not asked about thousands of containers one after the other: the next collection goes on from here."""

Listed = dict[str, Any]
Running = list[tuple[Listed, Detail]]


class ContainerCollector:
    """Blocking, one collection at a time. CPU is between two collections, or between the two looks of the first.

    `cgroups` None: those of this host, or for an engine elsewhere none. Where a container's can't be read, the engine
    is asked for its statistics.
    """

    def __init__(
        self, engine: Engine, cgroups: Cgroups | None = None, first_interval_s: float = FIRST_INTERVAL_S
    ) -> None:
        self._engine = engine
        self._cgroups = cgroups or (Cgroups() if engine.socket is not None else None)
        self._first_interval_s = first_interval_s
        self._details: dict[str, Detail] = {}
        self._samples: dict[str, Sample] = {}
        self._lock = threading.Lock()

    def collect(
        self,
        prefixes: Sequence[str] = (),
        *,
        everything: bool = False,
        measured: bool = True,
        urgent: bool = False,
    ) -> CollectedContainers:
        """Those that a prefix covers, oldest first; without prefixes, or with `everything`, all of them.

        `urgent`: the CPU of what was never looked at is not waited for, and null. Raises EngineUnavailable.
        """
        of_prefix = Prefixes(prefixes)
        with self._lock, self._engine.api() as api, errors_as_unavailable():
            version = self._engine.version_from(api)
            listed = list(api.containers(all=True))
            self._forget({str(one["Id"]) for one in listed})
            matched = [(one, of_prefix.longest(name_of(one))) for one in listed]
            if prefixes and not everything:
                matched = [(one, prefix) for one, prefix in matched if prefix is not None]
            known = self._known(api, [one for one, _ in matched])
            figures = self._measure(known, urgent=urgent) if measured else {}
        infos = [
            describe(one, known[one["Id"]][1], figures.get(one["Id"]), prefix)
            for one, prefix in matched
            if one["Id"] in known
        ]
        infos.sort(key=lambda info: (info.created_at, info.container_name))
        truncated = len(infos) > MAX_CONTAINERS
        if truncated:  # those that don't run are left out first, then the oldest
            kept = sorted(infos, key=lambda info: info.state == "running")[-MAX_CONTAINERS:]
            infos = sorted(kept, key=lambda info: (info.created_at, info.container_name))
        return CollectedContainers(
            docker_version=version,
            containers=tuple(infos),
            truncated=truncated,
            collected_at=datetime.now(UTC),
        )

    def _forget(self, present: set[str]) -> None:
        for memory in (self._details, self._samples):
            for gone in memory.keys() - present:
                del memory[gone]

    def _known(self, api: "APIClient", listed: Sequence[Listed]) -> dict[str, tuple[Listed, Detail]]:
        """With what the engine told of each; those that are gone meanwhile are left out."""
        until = time.monotonic() + INSPECT_WITHIN_S
        known = {}
        for one in listed:
            if time.monotonic() > until:
                raise EngineUnavailable("it is too slow for the number of its containers")
            detail = self._detail(api, one)
            if detail is not None:
                known[str(one["Id"])] = (one, detail)
        return known

    def _detail(self, api: "APIClient", listed: Listed) -> Detail | None:
        known = self._details.get(listed["Id"])
        if known is None or not known.holds(key_of(listed)):
            known = inspect(api, listed, self._cgroups)
            if known is not None:
                self._details[listed["Id"]] = known
        return known

    def _measure(self, known: dict[str, tuple[Listed, Detail]], *, urgent: bool) -> dict[str, Figures]:
        running = [(one, detail) for one, detail in known.values() if detail.pid]
        found = self._look(running)
        fresh = [(one, detail) for one, detail in running if _is_first(found.get(one["Id"]))]
        if fresh and self._first_interval_s and not urgent:
            time.sleep(self._first_interval_s)  # in a thread of its own: CPU is measured between two samples
            found |= self._look(fresh)
        return found

    def _look(self, running: Running) -> dict[str, Figures]:
        found: dict[str, Figures] = {}
        unread: Running = []
        for listed, detail in running:
            usage = detail.group.read() if detail.group is not None else None
            if usage is None:
                unread.append((listed, detail))
                continue
            moved = network_bytes(detail.pid) if has_network(listed) else None
            found[listed["Id"]] = self._figures(listed, detail, usage, moved)
        answers = ask_usages(self._engine, [listed["Id"] for listed, _ in unread])
        for listed, detail in unread:
            if listed["Id"] in answers:
                usage, moved = answers[listed["Id"]]
                found[listed["Id"]] = self._figures(
                    listed, detail, usage, moved if has_network(listed) else None
                )
        return found

    def _figures(self, listed: Listed, detail: Detail, usage: Usage, moved: Moved | None) -> Figures:
        sample = next_sample(self._samples.get(listed["Id"]), detail.started_at, usage)
        self._samples[listed["Id"]] = sample
        return Figures(usage, moved, sample.cpu_percent)


def _is_first(figures: Figures | None) -> bool:
    return figures is not None and figures.cpu_percent is None
