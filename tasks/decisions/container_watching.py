"""What a container report says about one project's containers on one client: stopped, restarted, unhealthy, over limits."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from agent.wire.containers import ContainerInfo
from tasks.decisions.alerts import STALE_AFTER_S, Timing
from tasks.decisions.observed import (
    EXIT_WAITS_S,
    LOAD_HELD_S,
    LOAD_KEPT_S,
    RESTART_KEPT_S,
    Observed,
    above,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """A project's `container_config`: percent of one core, percent of the container's memory, seconds.

    `stale_after_s`: when what was seen is too old.
    """

    cpu: float | None = None
    memory: float | None = None
    held_s: float = LOAD_HELD_S
    stale_after_s: float = STALE_AFTER_S


@dataclass(frozen=True, slots=True)
class Known:
    """A container as it was seen last; one that is missed stays known when it is gone. `deployed`: Hoist put it there.

    `running`: or it did as a deploy task began that is still at work, and nothing has taken its place since.
    `ended`: in a deploy task, nothing took its place at once, and it has not run since.
    """

    container_id: str
    name: str
    running: bool
    restarts: int
    started_at: datetime | None
    deployed: bool
    ended: bool = False


ContainerMemory = Mapping[str, Known]
"""By container id."""


@dataclass(frozen=True, slots=True)
class _Look:
    """A container now and before, and what the rest of the report says of it. `served`: one of Hoist's runs."""

    name: str
    now: ContainerInfo | None
    before: Known | None
    replaced: bool
    served: bool
    firing_stops: Collection[str] = field(default=())

    @property
    def runs(self) -> bool:
        return self.now is not None and self.now.state in ("running", "paused", "restarting")

    @property
    def ran(self) -> bool:
        return self.before is not None and self.before.running


def observe_containers(
    containers: Sequence[ContainerInfo],
    memory: ContainerMemory,
    limits: Limits,
    *,
    live_stops: Collection[str],
    firing_stops: Collection[str],
    deploying: bool,
    installed: bool = True,
    truncated: bool = False,
) -> tuple[list[Observed], ContainerMemory]:
    """Every condition of every container that the project has, or had at the last look; and what to remember.

    `live_stops`, `firing_stops`: names whose stop waits or fires, or fires. One that another has taken the place of is
    not missed: Hoist's next deployment, or anybody's container of the same name; of somebody's that ended in a deploy
    task (a script's, say), whatever of the project's runs. Nor is one that may have been left out of a report that was
    cut (`truncated`): it is remembered as it was. What is gone is missed for as long as nothing of Hoist's runs;
    where the project is not `installed`, at one look, and not at all if Hoist had put it there.
    """
    now = {one.container_id: one for one in containers}
    running = _Running(containers)
    observed: list[Observed] = []
    after: dict[str, Known] = {}
    for container_id in sorted({*now, *memory}):
        here, before = now.get(container_id), memory.get(container_id)
        name = here.container_name if here is not None else memory[container_id].name
        replaced = running.replace(name, before, here, deploying=deploying)
        look = _Look(name, here, before, replaced, running.any_of_hoist, firing_stops)
        if here is None and truncated:
            observed.append(_stopped(look, None, limits))
            after[container_id] = memory[container_id]
            continue
        missed = _is_missed(look, live_stops, installed=installed)
        observed.append(_stopped(look, None if deploying else missed, limits))
        observed.append(_restarted(look, deploying, limits))
        if here is not None:
            observed.extend(_health_and_loads(here, deploying, limits))
        known = _known(look, missed=missed and not look.served, deploying=deploying)
        if known is not None:
            after[container_id] = known
    return _one_of_each(observed), after


def _known(look: _Look, *, missed: bool, deploying: bool) -> Known | None:
    """What to remember, None: nothing. `missed`: and nothing of Hoist's runs."""
    one, before = look.now, look.before
    ran_on = deploying and missed and look.ran  # it is missed once that is over, if it still doesn't run
    ended = ran_on or (not look.runs and before is not None and before.ended)
    if one is None:
        return replace(before, running=ran_on, ended=ended) if before is not None and missed else None
    return Known(
        one.container_id,
        one.container_name,
        look.runs or ran_on,
        one.restart_count if one.restart_count is not None else (before.restarts if before else 0),
        one.started_at,
        one.project_id is not None,
        ended,
    )


class _Running:
    """Who could have taken another's place."""

    def __init__(self, containers: Sequence[ContainerInfo]) -> None:
        running = [one for one in containers if one.state == "running"]
        self._names = Counter(one.container_name for one in running)
        self._deployed = sum(one.project_id is not None for one in running)

    @property
    def any_of_hoist(self) -> bool:
        """Whether one runs that Hoist put there."""
        return self._deployed > 0

    def replace(
        self, name: str, before: Known | None, here: ContainerInfo | None, *, deploying: bool
    ) -> bool:
        """Whether another container than this one runs in its stead."""
        itself = here is not None and here.state == "running"
        if self._names[name] > itself:
            return True
        if before is None:
            return False
        if not before.deployed:  # nor need be what a script has started instead
            return (before.ended or (deploying and before.running)) and self._names.total() > itself
        of_hoist = itself and here is not None and here.project_id is not None
        return self._deployed > of_hoist


def _is_missed(look: _Look, live: Collection[str], *, installed: bool) -> bool:
    if look.runs or look.replaced:
        return False
    if look.now is None and look.before is not None and (look.served or not installed):
        return look.ran and not look.before.deployed
    return look.ran or look.name in live


def _stopped(look: _Look, holds: bool | None, limits: Limits) -> Observed:
    timing = Timing(for_s=EXIT_WAITS_S, stale_after_s=limits.stale_after_s)
    code = look.now.exit_code if look.now is not None else None
    how = "is gone" if look.now is None else f"is {look.now.state}" + ("" if code is None else f" ({code})")
    return Observed("container_stopped", look.name, holds, timing, f"container {look.name} {how}")


def _restarted(look: _Look, deploying: bool, limits: Limits) -> Observed:
    now, before = look.now, look.before
    anew = False
    if now is not None and before is not None and look.name not in look.firing_stops:
        counted = now.restart_count is not None and now.restart_count > before.restarts
        moved = (
            look.runs
            and now.started_at is not None
            and before.started_at is not None
            and now.started_at > before.started_at
        )
        anew = counted or moved
    timing = Timing(keep_firing_s=RESTART_KEPT_S, stale_after_s=limits.stale_after_s, moment=True)
    message = f"container {look.name} was started anew" + (
        f" (restart {now.restart_count})" if now is not None and now.restart_count else ""
    )
    return Observed("container_restarted", look.name, None if deploying else anew, timing, message)


def _health_and_loads(one: ContainerInfo, deploying: bool, limits: Limits) -> list[Observed]:
    name, runs = one.container_name, one.state == "running"
    sick = runs and one.health == "unhealthy"
    observed = [
        Observed(
            "container_unhealthy",
            name,
            None if deploying else sick,
            Timing(stale_after_s=limits.stale_after_s),
            f"container {name} is unhealthy: its health check fails",
        )
    ]
    timing = Timing(limits.held_s, min(LOAD_KEPT_S, limits.held_s), limits.stale_after_s)
    if limits.cpu is not None:
        observed.append(
            above("container_cpu_high", name, one.cpu_percent if runs else 0.0, limits.cpu, timing)
        )
    if limits.memory is not None:
        used = one.memory_percent if runs else 0.0
        observed.append(above("container_memory_high", name, used, limits.memory, timing))
    return observed


def _one_of_each(observed: Sequence[Observed]) -> list[Observed]:
    """Two containers may have had one name, one after the other: what holds of either holds."""
    by_key: dict[tuple[str, str], Observed] = {}
    for one in observed:
        there = by_key.get(one.key)
        if there is None or (one.holds and not there.holds):
            by_key[one.key] = one
    return list(by_key.values())
