"""CPU per cent between two samples of a container. Pure: the clock is in the samples."""

from dataclasses import dataclass
from datetime import datetime

from agent.containers.cgroups import Usage

SHORTEST_INTERVAL_NS = 500_000_000
"""Two collections closer than this share a sample: a quota is spent in periods of 100 ms, so less would be noise."""

SHORTEST_FIRST_NS = 100_000_000
"""The same where there is nothing to share yet."""


@dataclass(frozen=True, slots=True)
class Sample:
    """CPU time at a moment of one run of a container, and the per cent of one core that was worked out then."""

    started_at: datetime | None
    cpu_ns: int
    at_ns: int
    cpu_percent: float | None = None


def next_sample(before: Sample | None, started_at: datetime | None, usage: Usage) -> Sample:
    """The sample that follows. Its per cent is None for the first of a run: the CPU time began anew with it."""
    if before is None or before.started_at != started_at or usage.cpu_ns < before.cpu_ns:
        return Sample(started_at, usage.cpu_ns, usage.at_ns)
    elapsed_ns = usage.at_ns - before.at_ns
    if elapsed_ns < (SHORTEST_FIRST_NS if before.cpu_percent is None else SHORTEST_INTERVAL_NS):
        return before
    percent = (usage.cpu_ns - before.cpu_ns) / elapsed_ns * 100
    return Sample(started_at, usage.cpu_ns, usage.at_ns, round(percent, 2))
