"""Whether a client has what is recorded of it: recorded against observed. Pure."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

Drift = Literal["match", "wrong_version", "missing", "extra", "stale", "unknown"]
ALERTS: tuple[Drift, ...] = ("wrong_version", "missing", "extra")
REPAIRED: tuple[Drift, ...] = ("wrong_version", "missing")
MISSED_INTERVALS = 3


@dataclass(frozen=True, slots=True)
class Seen:
    """What a client's newest report shows of a project. `versions`: what says its own; `there`: whether anything runs."""

    at: datetime
    received_at: datetime
    there: bool
    versions: frozenset[str] = frozenset()


def judge_drift(recorded: str | None, seen: Seen | None, interval_s: float, now: datetime) -> Drift:
    """`recorded`: the version that is installed; None: nothing is.

    unknown: nothing was ever seen, or what runs doesn't say its version (there is no probe). stale: nothing was received
    for three intervals. missing: nothing of it runs. extra: something runs where nothing is installed.
    """
    if seen is None:
        return "unknown"
    if now - seen.received_at > MISSED_INTERVALS * timedelta(seconds=interval_s):
        return "stale"
    if recorded is None:
        return "extra" if seen.there else "match"
    if not seen.there:
        return "missing"
    if not seen.versions:
        return "unknown"
    return "match" if seen.versions == {recorded} else "wrong_version"


def shown(versions: Collection[str]) -> str | None:
    """The versions that were seen, as text."""
    return ", ".join(sorted(versions)) or None
