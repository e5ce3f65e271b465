"""CPU per cent between two samples of a process, and memory from one."""

from dataclasses import dataclass

from agent.processes.clock import PAGE_BYTES, TICKS_PER_SECOND
from agent.processes.stat import Stat

SHORTEST_INTERVAL_S = 0.5
"""Two collections closer than this share a sample: a tick is 10 ms, so less would be noise."""

_FORGET_AFTER_S = 2 * 86_400.0
_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """CPU ticks used at a monotonic time (seconds), and the per cent that was worked out then."""

    cpu_ticks: int
    taken_at: float
    cpu_percent: float | None = None


def next_sample(before: Sample | None, cpu_ticks: int, now: float) -> Sample:
    """The sample that follows; its per cent is of one core, since the one before, and None for the first."""
    if before is None:
        return Sample(cpu_ticks, now)
    elapsed_s = now - before.taken_at
    if elapsed_s < SHORTEST_INTERVAL_S:
        return before
    used_s = max(0, cpu_ticks - before.cpu_ticks) / TICKS_PER_SECOND
    return Sample(cpu_ticks, now, round(100 * used_s / elapsed_s, 2))


class CpuSamples:
    """The last sample of each process that matched: a process is (pid, start ticks)."""

    def __init__(self) -> None:
        self._samples: dict[tuple[int, int], Sample] = {}
        self._swept_at = 0.0

    def percent(self, stat: Stat, now: float) -> float | None:
        """Per cent of one core since the previous sample of the same process, or None. `now` is monotonic seconds."""
        key = (stat.pid, stat.start_ticks)
        self._samples[key] = next_sample(self._samples.get(key), stat.cpu_ticks, now)
        self._sweep(now)
        return self._samples[key].cpu_percent

    def _sweep(self, now: float) -> None:
        if now - self._swept_at > _FORGET_AFTER_S / 2:
            self._swept_at = now
            self._samples = {k: s for k, s in self._samples.items() if now - s.taken_at < _FORGET_AFTER_S}


def memory_mb(rss_pages: int) -> float:
    """Resident memory in MiB."""
    return round(rss_pages * PAGE_BYTES / _MEBIBYTE, 2)


def memory_pct(rss_pages: int, physical_pages: int) -> float | None:
    """Resident memory in per cent of the host's, or None where the host's is unknown."""
    return round(100 * rss_pages / physical_pages, 3) if physical_pages > 0 else None
