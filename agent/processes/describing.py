"""Turns the stat of each match into what is said about it on the wire."""

import os
import time
from collections.abc import Callable, Mapping

from agent.processes.clock import BootClock
from agent.processes.masking import shown_cmdline
from agent.processes.matching import full_name
from agent.processes.procfs import Proc
from agent.processes.samples import CpuSamples, memory_mb, memory_pct
from agent.processes.stat import Stat
from agent.processes.surroundings import Surroundings
from agent.processes.survival import AgentFacts
from agent.wire.processes import ProcessInfo

_MAX_PORTS = 1000


class Descriptions:
    """Describes matches; remembers their CPU samples from one collection to the next."""

    def __init__(
        self, clock: BootClock, surroundings: Surroundings, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`monotonic`: seconds, for the time between two CPU samples."""
        self._clock = clock
        self._surroundings = surroundings
        self._monotonic = monotonic
        self._cpu = CpuSamples()
        self._physical_pages = os.sysconf("SC_PHYS_PAGES")

    def describe(
        self, proc: Proc, stats: Mapping[str, Stat], listening: Mapping[int, int], *, resources: bool
    ) -> dict[str, ProcessInfo]:
        """One description per process, its `matched_by` still empty. `listening`: inode -> port."""
        if not stats:
            return {}
        agent = self._surroundings.agent(proc)
        links = {f"socket:[{inode}]": port for inode, port in listening.items()}
        parents = {stat.pid for stat in stats.values()}
        infos: dict[str, ProcessInfo] = {}
        for pid, stat in stats.items():
            update: dict[str, object] = {
                "is_root": stat.ppid not in parents,
                "ports": _ports(proc, pid, links),
            }
            if resources:
                update |= self._resources(stat)
            infos[pid] = self._one(proc, agent, stat).model_copy(update=update)
        return infos

    def _one(self, proc: Proc, agent: AgentFacts, stat: Stat) -> ProcessInfo:
        pid = str(stat.pid)
        raw = proc.cmdline(pid) or b""
        survival = self._surroundings.survival(proc, agent, stat)
        return ProcessInfo(
            pid=stat.pid,
            name=full_name(stat.comm, raw, lambda: proc.exe(pid)),
            cmdline=shown_cmdline(raw),
            start_time=self._clock.start_time(stat.start_ticks),
            status=stat.status,
            matched_by="",
            survives_agent_stop=survival.survives_agent_stop,
            survival_reason=survival.reason[:500],
            survives_reboot=survival.survives_reboot,
            ppid=stat.ppid,
            start_ticks=stat.start_ticks,
        )

    def _resources(self, stat: Stat) -> dict[str, object]:
        return {
            "cpu_percent": self._cpu.percent(stat, self._monotonic()),
            "memory_mb": memory_mb(stat.rss_pages),
            "memory_pct": memory_pct(stat.rss_pages, self._physical_pages),
        }


def _ports(proc: Proc, pid: str, links: Mapping[str, int]) -> tuple[int, ...]:
    if not links:
        return ()
    ports = {links[target] for target in proc.open_files(pid).values() if target in links}
    return tuple(sorted(ports))[:_MAX_PORTS]
