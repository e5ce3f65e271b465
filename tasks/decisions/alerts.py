"""The life of an alert, as a pure decision: what was, what is seen, what time it is → what is, and why.

A condition that holds makes the alert wait for `for_s`, from when that was heard of, then fire, once: a client's clock
that is wrong, or a report that comes late, leaves what ended the condition the same time to arrive. It resolves when the
condition has not held for `keep_firing_s`. Time alone is an observation too (`None`): it fires what has waited long enough, and resolves what
was kept firing. The model is Prometheus' (`for`, `keep_firing_for`):
https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum


class Reason(StrEnum):
    """Why an alert is what it is. FIRED and RESOLVED are told to people, each once."""

    NOTHING = "nothing"  # there is no alert, and no reason for one
    STARTED = "started"  # the condition holds now, and has to hold for a while
    WAITING = "waiting"
    CAME_BACK = "came_back"  # the condition ended before the alert fired: nobody hears of it
    FIRED = "fired"
    FIRING = "firing"
    KEPT = "kept"  # the condition ended, not long enough ago
    RESOLVED = "resolved"
    NOT_JUDGED = "not_judged"  # nothing was seen of it, or a deployment is going on
    OUT_OF_ORDER = "out_of_order"  # something newer was judged already
    STALE = "stale"  # it would fire by time alone, but nothing has been seen of it for too long


STALE_AFTER_S = 180.0


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: how long a condition holds before it fires, how long it keeps firing, when what was seen is too old.

    `moment`: it is over as soon as it was seen (a restart), whenever somebody looks again.
    """

    for_s: float = 0.0
    keep_firing_s: float = 0.0
    stale_after_s: float = STALE_AFTER_S
    moment: bool = False


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen `at`. `holds` is None where the condition is not to be judged now. `heard_at` None: just now."""

    at: datetime
    holds: bool | None
    heard_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AlertState:
    """An alert that waits (`fired_at` None) or fires. `holds`: as it was seen last, at `seen_at`.

    `since`, `seen_at` and `held_at` are by the clock of who saw it, `heard_at` and `fired_at` by ours.
    """

    since: datetime
    seen_at: datetime
    held_at: datetime
    holds: bool = True
    fired_at: datetime | None = None
    heard_at: datetime | None = None

    @property
    def firing(self) -> bool:
        """Whether people have been told."""
        return self.fired_at is not None


@dataclass(frozen=True, slots=True)
class Decision:
    """`state` None: there is no alert (any more)."""

    state: AlertState | None
    reason: Reason


def decide_alert(was: AlertState | None, seen: Observation | None, now: datetime, timing: Timing) -> Decision:
    """What becomes of an alert. `seen` None: only time has passed."""
    if seen is None:
        return _by_time(was, now, timing)
    if was is not None and seen.at < was.seen_at:
        return Decision(was, Reason.OUT_OF_ORDER)
    if seen.holds is None:
        return Decision(was, Reason.NOT_JUDGED)
    return _by_sight(was, seen, now, timing)


def _by_sight(was: AlertState | None, seen: Observation, now: datetime, timing: Timing) -> Decision:
    if was is not None and not was.firing and seen.holds and _is_too_long(was, seen, timing):
        was = None  # nobody looked in between: that it held all the time is not known
    if was is None:
        if not seen.holds:
            return Decision(None, Reason.NOTHING)
        began = AlertState(seen.at, seen.at, seen.at, holds=not timing.moment, heard_at=seen.heard_at or now)
        return _waited(began, now, timing, Reason.STARTED)
    if seen.holds:
        again = replace(was, seen_at=seen.at, held_at=seen.at, holds=not timing.moment)
        return Decision(again, Reason.FIRING) if was.firing else _waited(again, now, timing, Reason.WAITING)
    if not was.firing:
        return Decision(None, Reason.CAME_BACK)
    return _ended(replace(was, seen_at=seen.at, holds=False), now, timing)


def _is_too_long(was: AlertState, seen: Observation, timing: Timing) -> bool:
    return seen.at - was.seen_at > timedelta(seconds=timing.stale_after_s)


def due_at(state: AlertState, timing: Timing) -> datetime | None:
    """When time alone will change it; None where it won't."""
    if not state.firing:
        return (state.heard_at or state.since) + timedelta(seconds=timing.for_s)
    return None if state.holds else state.held_at + timedelta(seconds=timing.keep_firing_s)


def _by_time(was: AlertState | None, now: datetime, timing: Timing) -> Decision:
    if was is None:
        return Decision(None, Reason.NOTHING)
    if was.firing:
        return Decision(was, Reason.FIRING) if was.holds else _ended(was, now, timing)
    return _waited(was, now, timing, Reason.WAITING)


def _waited(state: AlertState, now: datetime, timing: Timing, waiting: Reason) -> Decision:
    if now - (state.heard_at or state.since) < timedelta(seconds=timing.for_s):
        return Decision(state, waiting)
    if now - state.held_at > timedelta(seconds=timing.stale_after_s):
        return Decision(state, Reason.STALE)
    return Decision(replace(state, fired_at=now), Reason.FIRED)


def _ended(state: AlertState, now: datetime, timing: Timing) -> Decision:
    if now - state.held_at < timedelta(seconds=timing.keep_firing_s):
        return Decision(state, Reason.KEPT)
    return Decision(None, Reason.RESOLVED)
