"""Whether a version uses more than the one before it, on the same clients. Pure.

A client is worse in a figure where that rose by more than the threshold and by more than noise; a rollout has a
regression where so many clients are worse in the same figure.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean

from db.documents.usage import Usage

NOISE = {"cpu": 5.0, "memory": 16.0, "restarts": 0.5}
"""What a figure has to rise by at least: per cent of a core, MB, restarts."""
UNITS = {"cpu": "% of a core", "memory": "MB", "restarts": "restarts"}


@dataclass(frozen=True, slots=True)
class Compared:
    """One client that was upgraded. `restarts`: in equally long times before and after."""

    client_id: str
    before: Usage
    after: Usage
    restarts_before: int = 0
    restarts_after: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of one client; `worse`: it rose by more than it may."""

    client_id: str
    figure: str
    before: float
    after: float
    worse: bool

    @property
    def percent(self) -> float | None:
        """How much more, in per cent of before; None where there was nothing before."""
        return 100.0 * (self.after - self.before) / self.before if self.before else None


@dataclass(frozen=True, slots=True)
class Regression:
    """`reason`: what is said of it; `clients`: who is worse in that figure."""

    reason: str
    clients: frozenset[str]


def changes_of(compared: Iterable[Compared], threshold_percent: float) -> list[Change]:
    """Every figure that was measured before and after."""
    return [
        Change(one.client_id, figure, before, after, _is_worse(figure, before, after, threshold_percent))
        for one in compared
        for figure, before, after in _figures(one)
        if before is not None and after is not None
    ]


def find_regression(
    changes: Sequence[Change], threshold_percent: float, least_clients: int
) -> Regression | None:
    """The figure in which most clients are worse, where they are enough."""
    worse: dict[str, list[Change]] = {}
    for one in changes:
        if one.worse:
            worse.setdefault(one.figure, []).append(one)
    if not worse:
        return None
    figure, found = max(worse.items(), key=lambda item: len(item[1]))
    if len(found) < least_clients:
        return None
    compared = sum(one.figure == figure for one in changes)
    before, after = mean(one.before for one in found), mean(one.after for one in found)
    reason = (
        f"{len(found)} of {compared} compared clients have more {figure} than before, by over {threshold_percent:g} %: "
        f"{before:.1f} → {after:.1f} {UNITS[figure]} on average"
    )
    return Regression(reason, frozenset(one.client_id for one in found))


def _figures(one: Compared) -> Iterable[tuple[str, float | None, float | None]]:
    yield "cpu", one.before.cpu_percent, one.after.cpu_percent
    yield "memory", one.before.memory_mb, one.after.memory_mb
    yield "restarts", float(one.restarts_before), float(one.restarts_after)


def _is_worse(figure: str, before: float, after: float, threshold_percent: float) -> bool:
    return after - before > NOISE[figure] and after > before * (1 + threshold_percent / 100)
