"""The process collector: which processes match a project's rules now, and what there is to say about each."""

import asyncio
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from agent.processes.clock import BootClock, read_boot_id
from agent.processes.describing import Descriptions
from agent.processes.matching import CompiledRules, compile_rules
from agent.processes.memory import Memory
from agent.processes.pidfiles import read_pid_file
from agent.processes.ports import PortOwners
from agent.processes.procfs import Proc
from agent.processes.scanning import scan, without_forks
from agent.processes.stat import Stat
from agent.processes.surroundings import Surroundings
from agent.wire.processes import Collected, Rule

_MAX_MEMORIES = 64
MAX_PROCESSES = 10_000
"""As many as a report may carry."""


class ProcessCollector:
    """Collects by rules. Blocking, and safe to call from several threads: call it in a thread of its own.

    `own_pids` answers which processes never match: the agent, its wrappers, a running execution's own script.
    """

    def __init__(
        self,
        own_pids: Callable[[], set[int]] = lambda: {os.getpid()},
        surroundings: Surroundings | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._own_pids = own_pids
        self._clock = BootClock()
        self._descriptions = Descriptions(self._clock, surroundings or Surroundings(), monotonic)
        self._boot_id = read_boot_id()
        self._ports = PortOwners()
        self._memories: OrderedDict[tuple[Rule, ...], Memory] = OrderedDict()
        self._lock = threading.Lock()

    def collect(
        self,
        rules: Sequence[Rule],
        exclude_pids: frozenset[int] = frozenset(),
        *,
        resources: bool = True,
        fresh: bool = False,
    ) -> Collected:
        """Everything that matches now, once for each rule it matches, in the rules' order, then by pid.

        `fresh` looks at every process; otherwise what is settled and did not match is looked at every few rounds.
        Without `resources` CPU and memory are null.
        """
        skipped = exclude_pids | self._own_pids()
        return self._collect(tuple(rules), skipped, resources=resources, fresh=fresh)

    async def collect_in_thread(
        self, rules: Sequence[Rule], *, resources: bool = True, fresh: bool = False
    ) -> Collected:
        """The same without blocking the event loop, on which `own_pids` is asked."""
        skipped = frozenset(self._own_pids())
        return await asyncio.to_thread(self._collect, tuple(rules), skipped, resources=resources, fresh=fresh)

    def _collect(
        self, rules: tuple[Rule, ...], skipped: frozenset[int], *, resources: bool, fresh: bool
    ) -> Collected:
        with self._lock, Proc() as proc:
            memory = self._memory(rules)
            found, stats = self._match(proc, memory, skipped, fresh=fresh)
            listening = self._ports.sockets() if found else {}
            infos = self._descriptions.describe(proc, stats, listening, resources=resources)
        processes = [
            infos[pid].model_copy(update={"matched_by": name})
            for name in memory.rules.order
            for pid in sorted(infos, key=int)
            if name in found[pid]
        ]
        matched = {process.matched_by for process in processes}
        return Collected(
            processes=tuple(processes[:MAX_PROCESSES]),
            unmatched_rules=tuple(name for name in memory.rules.order if name not in matched),
            boot_id=self._boot_id or None,
            collected_at=datetime.now(UTC),
        )

    def _memory(self, rules: tuple[Rule, ...]) -> Memory:
        memory = self._memories.pop(rules, None) or Memory(compile_rules(rules))
        self._memories[rules] = memory
        if len(self._memories) > _MAX_MEMORIES:
            self._memories.popitem(last=False)
        return memory

    def _match(
        self, proc: Proc, memory: Memory, skipped: frozenset[int], *, fresh: bool
    ) -> tuple[dict[str, set[str]], dict[str, Stat]]:
        """The rules that each pid matches, and the stat of every match that is still there."""
        pids = frozenset(proc.pids())
        candidates = memory.candidates(pids, fresh=fresh)
        found = scan(proc, candidates, memory.rules)
        if candidates != pids and memory.lost_a_rule(found):
            found = scan(proc, pids, memory.rules)
        memory.remember(pids, {pid: set(names) for pid, names in found.items()})
        found = without_forks(proc, found, memory.rules, skipped)
        self._match_ports(proc, memory.rules, pids, found)
        self._match_pidfiles(proc, memory.rules, pids, found)
        stats = {pid: proc.stat(pid) for pid in found if int(pid) not in skipped}
        alive = {pid: stat for pid, stat in stats.items() if stat is not None and not stat.gone}
        return {pid: found[pid] for pid in alive}, alive

    def _match_ports(
        self, proc: Proc, rules: CompiledRules, pids: frozenset[str], found: dict[str, set[str]]
    ) -> None:
        if not rules.ports:
            return
        wanted = {port for _, port in rules.ports}
        owners = self._ports.owners(proc, pids, wanted, self._ports.sockets())
        for name, port in rules.ports:
            for pid in owners[port]:
                found.setdefault(pid, set()).add(name)

    def _match_pidfiles(
        self, proc: Proc, rules: CompiledRules, pids: frozenset[str], found: dict[str, set[str]]
    ) -> None:
        for name, path in rules.pidfiles:
            file = read_pid_file(path)
            stat = proc.stat(str(file.pid)) if file and str(file.pid) in pids else None
            if file and stat and not file.is_stale(self._clock.started_at(stat.start_ticks)):
                found.setdefault(str(file.pid), set()).add(name)
