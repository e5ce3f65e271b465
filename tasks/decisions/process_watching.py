"""What a process report says about each rule of the installed version: gone, started anew, over its limits."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from agent.wire.processes import ProcessConfig, ProcessInfo
from tasks.decisions.alerts import Timing
from tasks.decisions.observed import (
    EXIT_WAITS_S,
    LOAD_HELD_S,
    LOAD_KEPT_S,
    RESTART_KEPT_S,
    Observed,
    above,
)

Identity = tuple[int, int]
"""pid and start ticks: a reused pid is another process."""
MISSED_INTERVALS = 3
BACK_WITHIN = timedelta(seconds=90)
"""A rule has several processes, one ends, another is there so soon: a restart, as if nobody had looked in between."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A rule's root processes that ended while others of it went on; when the last of them was missed first."""

    at: datetime
    roots: frozenset[Identity]


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """What is remembered from one report to the next: each rule's root processes as they were seen last, and lately lost.

    `release_id`: the deploy task that the report spoke of; what another one started anew is no restart.
    """

    release_id: str | None = None
    roots: Mapping[str, frozenset[Identity]] = field(default_factory=dict)
    lost: Mapping[str, Lost] = field(default_factory=dict)


class ProcessesFound(NamedTuple):
    """What a report shows, made `at`. `looked_for`: the rules that the agent knew when it looked, None: all of them; it
    learns of new ones later. What it did not look for is not judged.
    """

    at: datetime
    processes: Sequence[ProcessInfo]
    release_id: str | None = None
    looked_for: Collection[str] | None = None


def observe_processes(
    config: ProcessConfig,
    found: ProcessesFound,
    memory: ProcessMemory,
    *,
    firing_exits: Collection[str] = (),
    judged: bool = True,
) -> tuple[list[Observed], ProcessMemory]:
    """Every condition of every rule, and what to remember.

    `firing_exits`: rules whose exit people know of; their return is no restart. `judged`: False where a deploy task is at
    work on the client, which ends and starts processes as it likes.
    """
    observed: list[Observed] = []
    roots: dict[str, frozenset[Identity]] = {}
    lost: dict[str, Lost] = {}
    by_rule = _by_rule(found.processes)
    same_release = found.release_id == memory.release_id
    timings = _timings(config.collect_interval, config.alert_for_s)
    for rule in config.rules:
        mine = by_rule.get(rule.name, [])
        before = memory.roots.get(rule.name, _NONE)
        now = frozenset([_identity(one) for one in mine if one.is_root is not False])
        missed = _missed(memory.lost.get(rule.name), before, now, found.at) if same_release else None
        was_gone = rule.name in firing_exits
        anew = missed is not None and bool(now - before) and not was_gone
        if missed is not None and now and not anew and not was_gone:
            lost[rule.name] = missed
        roots[rule.name] = now or before
        known = found.looked_for is None or rule.name in found.looked_for
        if config.alert_on_exit:
            is_judged = judged and known
            observed.append(_exit(rule.name, not mine if is_judged else None, timings.exits))
            observed.append(_restart(rule.name, anew if is_judged else None, timings.restarts))
        observed.extend(_loads(config, rule.name, mine, timings.loads, gone=known and not mine))
    return observed, ProcessMemory(found.release_id, roots, lost)


def is_moderate(config: ProcessConfig, processes: Sequence[ProcessInfo]) -> bool:
    """Whether nothing that is measured says anything: no process is over a limit, and none is a zombie.

    Of two moderate reports that say the same otherwise, `observe_processes` finds the same: what it comes to look at
    besides belongs here, too.
    """
    cpu, memory = config.alert_on_high_cpu, config.alert_on_high_mem
    for one in processes:
        if (
            one.status == "zombie"
            or (cpu is not None and one.cpu_percent is not None and one.cpu_percent > cpu)
            or (memory is not None and one.memory_pct is not None and one.memory_pct > memory)
        ):
            return False
    return True


_NONE: frozenset[Identity] = frozenset()


def _by_rule(processes: Sequence[ProcessInfo]) -> dict[str, list[ProcessInfo]]:
    found: dict[str, list[ProcessInfo]] = {}
    for one in processes:
        if one.status != "zombie":
            found.setdefault(one.matched_by, []).append(one)
    return found


def _missed(
    was: Lost | None, before: frozenset[Identity], now: frozenset[Identity], at: datetime
) -> Lost | None:
    """The root processes that are gone, of those that were there before and of those that were lost not long before."""
    gone = before - now
    if was is not None and at - was.at <= BACK_WITHIN and (still := was.roots - now):
        return Lost(at if gone else was.at, gone | still)
    return Lost(at, gone) if gone else None


def _identity(process: ProcessInfo) -> Identity:
    return (process.pid, process.start_ticks or int(process.start_time.timestamp()))


@dataclass(frozen=True, slots=True)
class _Timings:
    exits: Timing
    restarts: Timing
    loads: Timing


@lru_cache(maxsize=1024)
def _timings(collect_interval: int, alert_for_s: int | None) -> _Timings:
    stale_s = float(MISSED_INTERVALS * collect_interval)
    held_s = float(alert_for_s if alert_for_s is not None else LOAD_HELD_S)
    return _Timings(
        Timing(for_s=EXIT_WAITS_S, stale_after_s=stale_s),
        Timing(keep_firing_s=RESTART_KEPT_S, stale_after_s=stale_s, moment=True),
        Timing(for_s=held_s, keep_firing_s=min(LOAD_KEPT_S, held_s), stale_after_s=stale_s),
    )


def _exit(rule: str, holds: bool | None, timing: Timing) -> Observed:
    return Observed("process_exit", rule, holds, timing, f"no process matches the rule {rule}")


def _restart(rule: str, holds: bool | None, timing: Timing) -> Observed:
    return Observed("process_restart", rule, holds, timing, f"{rule} was started anew")


def _loads(
    config: ProcessConfig, rule: str, mine: Sequence[ProcessInfo], timing: Timing, *, gone: bool
) -> Iterator[Observed]:
    """The highest of the rule's processes; what is `gone` uses nothing, what was not measured is not judged."""
    if (limit := config.alert_on_high_cpu) is not None:
        cpu = _highest([one.cpu_percent for one in mine], gone=gone)
        yield above("process_cpu_high", rule, cpu, limit, timing)
    if (limit := config.alert_on_high_mem) is not None:
        memory = _highest([one.memory_pct for one in mine], gone=gone)
        yield above("process_memory_high", rule, memory, limit, timing)


def _highest(measured: Sequence[float | None], *, gone: bool) -> float | None:
    return max([one for one in measured if one is not None], default=0.0 if gone else None)
