"""What a process report says about each rule of the installed version: gone, started anew, over its limits."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """What is remembered from one report to the next: each rule's root processes as they were seen last.

    `release_id`: the deploy task that the report spoke of; what another one started anew is no restart.
    """

    release_id: str | None = None
    roots: Mapping[str, frozenset[Identity]] = field(default_factory=dict)


def observe_processes(
    config: ProcessConfig,
    processes: Sequence[ProcessInfo],
    release_id: str | None,
    memory: ProcessMemory,
    *,
    looked_for: Collection[str] | None = None,
    firing_exits: Collection[str],
    deploying: bool,
) -> tuple[list[Observed], ProcessMemory]:
    """Every condition of every rule, and what to remember.

    `looked_for`: the rules that the agent knew when it looked, None: all of them; it learns of new ones later. What it did
    not look for is not judged. `firing_exits`: rules whose exit people know of; their return is no restart. `deploying`: a deploy task is at work
    on the client, which ends and starts processes as it likes.
    """
    observed: list[Observed] = []
    roots: dict[str, frozenset[Identity]] = {}
    stale_s = float(MISSED_INTERVALS * config.collect_interval)
    for rule in config.rules:
        mine = [one for one in processes if one.matched_by == rule.name and one.status != "zombie"]
        before = memory.roots.get(rule.name, frozenset())
        now = frozenset(_identity(one) for one in mine if one.is_root is not False)
        same_release = release_id == memory.release_id
        anew = _started_anew(before, now) and same_release and rule.name not in firing_exits
        roots[rule.name] = now or before
        known = looked_for is None or rule.name in looked_for
        unjudged = deploying or not known
        if config.alert_on_exit:
            observed.append(_exit(rule.name, None if unjudged else not mine, stale_s))
            observed.append(_restart(rule.name, None if unjudged else anew, stale_s))
        observed.extend(_loads(config, rule.name, mine, stale_s, gone=known and not mine))
    return observed, ProcessMemory(release_id, roots)


def _identity(process: ProcessInfo) -> Identity:
    return (process.pid, process.start_ticks or int(process.start_time.timestamp()))


def _started_anew(before: frozenset[Identity], now: frozenset[Identity]) -> bool:
    """Whether one that was there is gone and one that was not is there."""
    return bool(before - now) and bool(now - before)


def _exit(rule: str, holds: bool | None, stale_s: float) -> Observed:
    timing = Timing(for_s=EXIT_WAITS_S, stale_after_s=stale_s)
    return Observed("process_exit", rule, holds, timing, f"no process matches the rule {rule}")


def _restart(rule: str, holds: bool | None, stale_s: float) -> Observed:
    timing = Timing(keep_firing_s=RESTART_KEPT_S, stale_after_s=stale_s)
    return Observed("process_restart", rule, holds, timing, f"{rule} was started anew")


def _loads(
    config: ProcessConfig, rule: str, mine: Sequence[ProcessInfo], stale_s: float, *, gone: bool
) -> list[Observed]:
    """The highest of the rule's processes; what is `gone` uses nothing, what was not measured is not judged."""
    held_s = float(config.alert_for_s if config.alert_for_s is not None else LOAD_HELD_S)
    timing = Timing(for_s=held_s, keep_firing_s=min(LOAD_KEPT_S, held_s), stale_after_s=stale_s)
    unmeasured = 0.0 if gone else None
    limits = (
        ("process_cpu_high", config.alert_on_high_cpu, [one.cpu_percent for one in mine]),
        ("process_memory_high", config.alert_on_high_mem, [one.memory_pct for one in mine]),
    )
    return [
        above(kind, rule, max((one for one in values if one is not None), default=unmeasured), limit, timing)
        for kind, limit, values in limits
        if limit is not None
    ]
