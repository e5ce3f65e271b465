"""When a process started, and when this host did.

/proc counts a process's start in ticks since boot (CLOCK_BOOTTIME), so the boot's wall-clock time is derived from both
clocks as they stand now: after the clock was set, start times move with it instead of lying.
"""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_JITTER_S = 0.5
_NANOSECONDS = 1_000_000_000


def measure_boot_time() -> float:
    """Seconds since the epoch at which this host booted, by its clock as it stands now."""
    nanoseconds = time.clock_gettime_ns(time.CLOCK_REALTIME) - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return nanoseconds / _NANOSECONDS


def read_boot_id() -> str:
    """The kernel's random id of this boot, or an empty string where /proc has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


class BootClock:
    """A boot time that moves only when the clock was really set, so that start times don't jitter between reports."""

    def __init__(self, measure: Callable[[], float] = measure_boot_time) -> None:
        """`measure` answers the boot time in seconds since the epoch."""
        self._measure = measure
        self._boot_time = measure()

    def boot_time(self) -> float:
        """Seconds since the epoch at which this host booted."""
        measured = self._measure()
        if abs(measured - self._boot_time) > _JITTER_S:
            self._boot_time = measured
        return self._boot_time

    def started_at(self, start_ticks: int) -> float:
        """Seconds since the epoch at which a process with this start tick began."""
        return self.boot_time() + start_ticks / TICKS_PER_SECOND

    def start_time(self, start_ticks: int) -> datetime:
        """The same as an aware time, to the hundredth of a second (a tick)."""
        return datetime.fromtimestamp(round(self.started_at(start_ticks), 2), UTC)
