"""When a monitor collects next, and how long delivery waits after a failure: pure."""

FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 60.0
PROBE_EVERY = 5
"""Collections from one version probe to the next, while the processes stay the same."""


def next_tick(started_at: float, interval_s: float, now: float) -> float:
    """The next time after `now` on the grid that begins at `started_at`; what was missed is not made up for."""
    return started_at + (max(0, int((now - started_at) // interval_s)) + 1) * interval_s


def backoff_s(failures: int) -> float:
    """Seconds to wait after this many failures in a row (1 s, 2 s, 4 s … 60 s)."""
    return float(min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(max(failures - 1, 0), 10)))


def probe_is_due(rounds_since: int | None, *, processes_changed: bool) -> bool:
    """Whether to ask for the version again; `rounds_since` None: never asked."""
    return rounds_since is None or processes_changed or rounds_since >= PROBE_EVERY
