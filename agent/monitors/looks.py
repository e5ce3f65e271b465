"""When a watch looks next: every interval, and soon after something was noticed. Pure: `now` is passed in (monotonic, seconds)."""

from collections.abc import Sequence
from dataclasses import dataclass

from agent.monitors.schedule import next_tick

GATHER_S = 0.05
"""From what was noticed to the look: whole groups end together, and a parent reaps its child meanwhile."""
CONFIRM_S = 0.95
"""From the first look on: a second after the end, and before the release API, which waits for a second from the first
look's report on, calls it an exit. What is back by then is a restart."""
FOLLOWING_S = (0.5, CONFIRM_S, 2.0, 4.0, 8.0)
"""From the first look on, until what ended is back."""
SHORTEST_GAP_S = 0.3
BURST = 20
REFILL_S = 5.0
"""So many looks beside the interval's may come in a row, and then one every so many seconds: what crashes over and over
floods neither the host nor the release API."""
_INSTANT_S = 0.001


@dataclass(frozen=True, slots=True)
class Look:
    """What a look is for. `confirms`: a second after the first. `followed`: others come before the interval is over."""

    by_interval: bool
    confirms: bool = False
    followed: bool = False


class Looks:
    """The first look is at once; `phase` (0 to 1, of an interval) moves the ones after it, so that a fleet does not report in step."""

    def __init__(
        self, interval_s: float, now: float, phase: float = 0.0, following_s: Sequence[float] = FOLLOWING_S
    ) -> None:
        self._interval_s = interval_s
        self._origin = now - phase * interval_s
        self._following_s = tuple(following_s)
        self._tick_at = now
        self._first_at: float | None = None
        self._following: list[float] = []
        self._confirm_at: float | None = None
        self._last_at = float("-inf")
        self._spent_until = float("-inf")

    def noticed(self, now: float) -> None:
        """Something changed: look soon."""
        if self._first_at is None:
            self._first_at = now + GATHER_S

    def settled(self) -> None:
        """All is as it was: what was to follow is not needed."""
        self._following.clear()

    def next_at(self) -> float:
        """When to look next; a time that is past: now."""
        soon = [at for at in (self._first_at, *self._following[:1]) if at is not None]
        if not soon:
            return self._tick_at
        allowed_from = self._spent_until - (BURST - 1) * REFILL_S
        return min(self._tick_at, max(min(soon), self._last_at + SHORTEST_GAP_S, allowed_from))

    def take(self, now: float) -> Look:
        """The look that is made now."""
        by_interval = now >= self._tick_at
        if by_interval:
            self._tick_at = next_tick(self._origin, self._interval_s, now + _INSTANT_S)
        else:
            self._spent_until = max(self._spent_until, now) + REFILL_S
        confirms = self._confirm_at is not None and now >= self._confirm_at
        if confirms:
            self._confirm_at = None
        self._following = [at for at in self._following if at > now]
        if self._first_at is not None and now >= self._first_at:
            self._first_at = None
            self._following = [now + after for after in self._following_s]
            self._confirm_at = now + CONFIRM_S
        self._last_at = now
        return Look(by_interval, confirms, followed=bool(self._following))
