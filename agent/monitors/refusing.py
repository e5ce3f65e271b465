"""Streams whose reports the release API refuses: each waits for a time of its own, and holds up no other."""

from collections.abc import Callable
from dataclasses import dataclass

from agent.monitors.schedule import backoff_s


@dataclass(slots=True)
class _Refused:
    reason: str
    failures: int
    until: float
    has_dropped: bool = False


class RefusedStreams:
    """Times are the event loop's, in seconds. `uniform` gives a random number between two."""

    def __init__(self, uniform: Callable[[float, float], float]) -> None:
        self._uniform = uniform
        self._refused: dict[str, _Refused] = {}

    def note(self, stream: str, reason: str, now: float) -> bool:
        """It was refused now, and rests: anywhere in 1, 2, 4 … 60 s. Whether it was not refused before."""
        is_new = stream not in self._refused
        refused = self._refused.setdefault(stream, _Refused(reason, 0, now))
        refused.reason = reason
        refused.failures += 1
        refused.until = now + self._uniform(0.0, backoff_s(refused.failures))
        return is_new

    def is_first_drop(self, stream: str) -> bool:
        """Whether none of its reports was dropped before, since it has been refused. Asked once for each drop."""
        refused = self._refused[stream]
        is_first, refused.has_dropped = not refused.has_dropped, True
        return is_first

    def reason(self, stream: str) -> str | None:
        """Why it was refused last; None: it is not."""
        refused = self._refused.get(stream)
        return refused.reason if refused else None

    def all(self) -> set[str]:
        """Those that were refused when they were tried last."""
        return set(self._refused)

    def resting(self, now: float) -> set[str]:
        """Those that are not to be tried yet."""
        return {stream for stream, refused in self._refused.items() if refused.until > now}

    def try_now(self, stream: str) -> None:
        """Somebody waits for it: it rests no longer."""
        if stream in self._refused:
            self._refused[stream].until = float("-inf")

    def next_at(self) -> float | None:
        """When the first of them is to be tried again; None: there is none."""
        return min((refused.until for refused in self._refused.values()), default=None)

    def forget(self, stream: str) -> None:
        """It is refused no longer, or has nothing to deliver."""
        self._refused.pop(stream, None)

    def forget_unless(self, has_reports: Callable[[str], bool]) -> None:
        """Forget those that have nothing to deliver."""
        for stream in [one for one in self._refused if not has_reports(one)]:
            del self._refused[stream]
