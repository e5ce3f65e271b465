"""Whom the heartbeat asks, and why: pure. Whoever reports what is installed there needs not be asked, save in its turn."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

MISSED = 2.5
"""Intervals without a report that make a client silent: it missed two."""
TURNS = 12
TURN_S = 300
"""Every client is asked in one of twelve rounds of five minutes: what no report shows is found within the hour."""


class Why(StrEnum):
    """Why a client is asked."""

    SILENT = "silent"  # nothing was heard of it, or of something that is installed there
    OTHER_VERSION = "other_version"  # it reports another version than the one that is installed
    OTHER_RULES = "other_rules"  # it reports other rules than the version's
    CHANGED = "changed"  # what is to be watched was changed since the version came there
    ORPHAN = "orphan"  # it reports what is not installed there
    TURN = "turn"


@dataclass(frozen=True, slots=True)
class Said:
    """The newest process report of a project."""

    version: str
    rules: frozenset[str]
    at: datetime


@dataclass(frozen=True, slots=True)
class Expected:
    """What is installed of one project, and which reports it should bring.

    `rules`: the names of the version's rules; None: nobody knows the version. `changed`: since it came there.
    """

    version: str
    rules: frozenset[str] | None
    processes: bool
    containers: bool
    pods: bool
    interval_s: float
    changed: bool

    @property
    def reports(self) -> bool:
        """Whether it brings any."""
        return self.processes or self.containers or self.pods


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard of one client. `containers_at`, `pods_at`: its newest container and pod reports.

    `was_online`: what is written down of it; None: nothing.
    """

    client_id: str
    registered_at: datetime
    heard_at: datetime | None
    containers_at: datetime | None
    pods_at: datetime | None
    said: Mapping[str, Said]
    was_online: bool | None


def is_reporting(heard: Heard, expected: Mapping[str, Expected], now: datetime, silent_for_s: float) -> bool:
    """Whether a report of it came lately: then it is there, whether or not it can be reached.

    Lately is by the shortest of its intervals, and within the hour: who reports seldom is found gone in its turn.
    """
    shortest_s = min((one.interval_s for one in expected.values() if one.reports), default=0.0)
    longest_s = max(silent_for_s, min(MISSED * shortest_s, TURNS * TURN_S))
    return any(
        _is_fresh(at, now, longest_s)
        for at in (heard.containers_at, heard.pods_at, *(one.at for one in heard.said.values()))
    )


def why_ask(heard: Heard, expected: Mapping[str, Expected], now: datetime, silent_for_s: float) -> Why | None:
    """None: it need not be asked now. `expected`: by project id."""
    if heard.was_online is False:
        return Why.SILENT
    for project_id, one in expected.items():
        if (why := _why_of(heard, heard.said.get(project_id), one, now, silent_for_s)) is not None:
            return why
    reports = any(one.reports for one in expected.values())
    if not reports and not _is_fresh(heard.heard_at, now, silent_for_s):
        return Why.SILENT
    if _reports_orphans(heard, expected, now, silent_for_s):
        return Why.ORPHAN
    return Why.TURN if is_its_turn(heard.client_id, now) else None


def is_its_turn(client_id: str, now: datetime) -> bool:
    """Whether the client is of this round's twelfth."""
    return zlib.crc32(client_id.encode()) % TURNS == int(now.timestamp()) // TURN_S % TURNS


def order_of(*, was_online: bool | None, client_id: str) -> tuple[bool, str]:
    """Those that are known to be offline are asked last: a round that runs out of time has found what is new."""
    return (was_online is False, client_id)


def _why_of(heard: Heard, said: Said | None, one: Expected, now: datetime, silent_for_s: float) -> Why | None:
    longest_s = max(silent_for_s, MISSED * one.interval_s)
    if one.containers and not _is_fresh(heard.containers_at or heard.registered_at, now, longest_s):
        return Why.SILENT
    if one.pods and not _is_fresh(heard.pods_at or heard.registered_at, now, longest_s):
        return Why.SILENT
    if one.processes:
        if said is None or not _is_fresh(said.at, now, longest_s):
            return Why.SILENT
        if said.version != one.version:
            return Why.OTHER_VERSION
        if one.rules is not None and said.rules != one.rules:
            return Why.OTHER_RULES
    return Why.CHANGED if one.changed else None


def _reports_orphans(
    heard: Heard, expected: Mapping[str, Expected], now: datetime, silent_for_s: float
) -> bool:
    """A report that came lately, of a project that is not there; of containers or pods, where none are."""
    if _is_fresh(heard.containers_at, now, silent_for_s) and not any(
        one.containers for one in expected.values()
    ):
        return True
    if _is_fresh(heard.pods_at, now, silent_for_s) and not any(one.pods for one in expected.values()):
        return True
    return any(
        project_id not in expected and _is_fresh(said.at, now, silent_for_s)
        for project_id, said in heard.said.items()
    )


def _is_fresh(at: datetime | None, now: datetime, within_s: float) -> bool:
    return at is not None and now - at < timedelta(seconds=within_s)
