"""What a deploy task does next: roll a wave, wait, go back, or end. Pure: asked anew after every step, by every run.

A run that was killed and one that goes on in its place come to the same answer, for all that it is made of is in the
database: the results, and what people have said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from db.documents.strategy import AutoRollback, FailureStrategy, Threshold

FAILURES = ("failed", "unreachable", "unknown", "rolled_back")
"""Statuses that count against thresholds. One that was rolled back failed before."""


DONE = "every client has its outcome"
"""The reason of a deploy task that nothing stopped."""


class Action(StrEnum):
    """ROLL: work on `clients`. HOLD: wait. ROLL_BACK: take `clients` back. FINISH: nobody else is started."""

    ROLL = "roll"
    HOLD = "hold"
    ROLL_BACK = "roll_back"
    FINISH = "finish"


class Hold(StrEnum):
    """What is waited for. Of a person: APPROVAL, CANARY (unless it promotes itself), WAVE, FAILURES, OPERATOR."""

    APPROVAL = "approval"
    SCHEDULE = "schedule"
    WINDOW = "window"
    FREEZE = "freeze"
    OPERATOR = "operator"
    CANARY = "canary"
    WAVE = "wave"
    FAILURES = "failures"


@dataclass(frozen=True, slots=True)
class Rules:
    """What the deploy task was made with. `waves`: of client ids; the first is the canary's where there is one."""

    waves: Sequence[Sequence[str]]
    max_failures: Threshold = 0
    max_failures_per_wave: Threshold | None = None
    failure_strategy: FailureStrategy = "abort"
    auto_rollback: AutoRollback = "off"
    canary: bool = False
    canary_auto_promote: bool = False
    pause_after: Sequence[int] = ()
    approval_required: bool = False
    not_before: datetime | None = None
    not_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """How it stands. `promoted_waves`: so many waves' holds are over; `forgiven`: failures that a person went on with.

    `can_go_back`: clients on which something ran, and that have not been taken back yet. `canary_until`: when the canary
    has been watched for long enough; `canary_trouble`: why it can't promote itself. `stopped`: why the run starts
    nobody else, `frozen`, `window_opens_at`, `paused_by`, `regression` (clients use more
    than before): None where that is not so.
    """

    statuses: Mapping[str, str]
    now: datetime
    forgiven: int = 0
    promoted_waves: int = 0
    approved: bool = False
    can_go_back: frozenset[str] = field(default=frozenset())
    going_back: bool = False
    in_flight_back: tuple[str, ...] = ()
    cancelled: bool = False
    stopped: str | None = None
    paused_by: str | None = None
    frozen: str | None = None
    window_opens_at: datetime | None = None
    canary_until: datetime | None = None
    canary_trouble: str | None = None
    regression: str | None = None


@dataclass(frozen=True, slots=True)
class Next:
    """`wave`: counted from 0. `until`: when a hold ends by itself, None where it takes a person. `last`: nobody else starts."""

    action: Action
    reason: str
    clients: tuple[str, ...] = ()
    wave: int | None = None
    hold: Hold | None = None
    until: datetime | None = None
    last: bool = False


def decide_next(rules: Rules, now: Situation) -> Next:
    """The next step, by the first of these that applies.

    Who is in flight is finished. A cancel ends it. A rollback that was asked for is done. Those that failed are taken
    back where that was asked for. Too many failures, or anything else that stops it, end it (after going back, where
    that was asked for) or hold it. Then the next wave's gates: approval, schedule, freeze, a person's pause, the hold
    after the wave before, the release window.
    """
    running = _clients(rules, now, "running")
    if running:
        return Next(Action.ROLL, "who is in flight is finished first", running)
    if now.in_flight_back:
        return Next(Action.ROLL_BACK, "who is being taken back is finished first", now.in_flight_back)
    if now.cancelled:
        return Next(Action.FINISH, "the deploy task was cancelled")
    if now.going_back:
        return _go_back(rules, now, None, "it is rolled back")
    failed = tuple(one for one in _clients(rules, now, "failed") if one in now.can_go_back)
    if rules.auto_rollback == "failed" and failed:
        return Next(Action.ROLL_BACK, "clients that failed go back to their own previous version", failed)
    return _after_failures(rules, now) or _next_wave(rules, now)


def exceeds(failed: int, total: int, limit: Threshold) -> bool:
    """Whether `failed` of `total` clients are more than `limit` allows."""
    if isinstance(limit, int):
        return failed > limit
    return failed * 100 > int(limit.rstrip("%")) * total


def too_many_failures(rules: Rules, now: Situation) -> tuple[int | None, str] | None:
    """The wave (None: over all waves) that has more failures than it may, and what is said of it; None where none has.

    Failures that a person went on with (`forgiven`) count no more: those of the earliest waves, for those were first.
    """
    by_wave = [sum(now.statuses[client] in FAILURES for client in wave) for wave in rules.waves]
    fresh = sum(by_wave) - now.forgiven
    if fresh <= 0:
        return None
    total = sum(len(wave) for wave in rules.waves)
    if exceeds(fresh, total, rules.max_failures):
        return None, f"{fresh} of {total} clients failed, {rules.max_failures} allowed"
    limit = rules.max_failures_per_wave
    if limit is None:
        return None
    forgiven = now.forgiven
    for number, failed in enumerate(by_wave):
        pardoned = min(failed, forgiven)
        forgiven -= pardoned
        count, size = failed - pardoned, len(rules.waves[number])
        if exceeds(count, size, limit):
            return number, f"{count} of {size} clients of wave {number + 1} failed, {limit} allowed"
    return None


def _after_failures(rules: Rules, now: Situation) -> Next | None:
    many = too_many_failures(rules, now)
    if now.stopped is not None:
        return _stop(rules, now, now.stopped)
    why = many[1] if many is not None else now.regression
    if why is None or rules.failure_strategy == "continue":
        return None
    if rules.failure_strategy == "abort":
        return _stop(rules, now, why)
    if not _clients(rules, now, "pending"):
        return None  # nobody is left whom a person could hold back
    return Next(Action.HOLD, why, hold=Hold.FAILURES)


def _stop(rules: Rules, now: Situation, why: str) -> Next:
    if rules.auto_rollback == "all":
        return _go_back(rules, now, None, why)
    if rules.auto_rollback == "wave":
        return _go_back(rules, now, _last_wave_touched(rules, now), why)
    return Next(Action.FINISH, why)


def _last_wave_touched(rules: Rules, now: Situation) -> int:
    touched = [
        number
        for number, wave in enumerate(rules.waves)
        if any(now.statuses[client] not in ("pending", "skipped") for client in wave)
    ]
    return max(touched, default=0)


def _go_back(rules: Rules, now: Situation, wave: int | None, why: str) -> Next:
    """A wave after the other, the last one first: what was kept apart on the way there stays apart on the way back."""
    for number in reversed(range(len(rules.waves))):
        clients = tuple(client for client in rules.waves[number] if client in now.can_go_back)
        if clients and wave in (None, number):
            return Next(Action.ROLL_BACK, why, clients, last=True)
    return Next(Action.FINISH, why)


def _next_wave(rules: Rules, now: Situation) -> Next:
    for number, wave in enumerate(rules.waves):
        pending = tuple(client for client in wave if now.statuses[client] == "pending")
        if pending:
            return _gate(rules, now, number) or Next(
                Action.ROLL, f"wave {number + 1} of {len(rules.waves)}", pending, number
            )
    return Next(Action.FINISH, DONE)


def _gate(rules: Rules, now: Situation, wave: int) -> Next | None:
    if rules.not_after is not None and now.now >= rules.not_after:
        return Next(Action.FINISH, f"its time is over ({rules.not_after:%Y-%m-%d %H:%M} UTC)")
    if rules.approval_required and not now.approved:
        return Next(Action.HOLD, "it has to be approved", wave=wave, hold=Hold.APPROVAL)
    if rules.not_before is not None and now.now < rules.not_before:
        return _hold(Hold.SCHEDULE, wave, "it is scheduled for later", rules.not_before)
    if now.frozen is not None:
        return _hold(Hold.FREEZE, wave, now.frozen)
    if now.paused_by is not None:
        return _hold(Hold.OPERATOR, wave, f"paused by {now.paused_by}")
    return _after_wave(rules, now, wave) or _window(now, wave)


def _after_wave(rules: Rules, now: Situation, wave: int) -> Next | None:
    """The hold after the wave before this one, unless it is over."""
    if wave == 0 or now.promoted_waves >= wave:
        return None
    if rules.canary and wave == 1:
        return _canary(rules, now, wave)
    if wave in rules.pause_after:
        return _hold(Hold.WAVE, wave, f"wave {wave} is done: a person says how it goes on")
    return None


def _canary(rules: Rules, now: Situation, wave: int) -> Next | None:
    watched = now.canary_until is None or now.now >= now.canary_until
    if not rules.canary_auto_promote:
        said = "the canary is done: a person promotes it"
        return _hold(
            Hold.CANARY, wave, said if watched else "the canary is watched, then a person promotes it"
        )
    if not watched:
        return _hold(Hold.CANARY, wave, "the canary is watched", now.canary_until)
    if now.canary_trouble is not None:
        return _hold(Hold.CANARY, wave, f"the canary is not promoted by itself: {now.canary_trouble}")
    if wave in rules.pause_after:
        return _hold(Hold.WAVE, wave, "the canary held: a person says how it goes on")
    return None


def _window(now: Situation, wave: int) -> Next | None:
    if now.window_opens_at is None:
        return None
    return _hold(Hold.WINDOW, wave, "the release window is closed", now.window_opens_at)


def _hold(hold: Hold, wave: int, reason: str, until: datetime | None = None) -> Next:
    return Next(Action.HOLD, reason, wave=wave, hold=hold, until=until)


def _clients(rules: Rules, now: Situation, status: str) -> tuple[str, ...]:
    return tuple(client for wave in rules.waves for client in wave if now.statuses[client] == status)
