"""Whether a client's processes are well: a pure decision over what it reported and what its version expects."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from agent.wire.processes import ProcessConfig, ProcessInfo
from api.schemas.reports import ClientStatus

MISSED_INTERVALS = 3


def process_status(
    config: ProcessConfig,
    processes: Sequence[ProcessInfo],
    received_at: datetime | None,
    now: datetime,
) -> ClientStatus:
    """healthy, unhealthy or unknown, as contracts.md says.

    unknown: nothing received for three intervals, or never, or no rule says what there should be. healthy: every rule
    has a process, and none is a zombie; a version without rules wants any process.
    """
    if received_at is None or now - received_at > MISSED_INTERVALS * timedelta(
        seconds=config.collect_interval
    ):
        return "unknown"
    if not config.rules and not processes:
        return "unknown"  # nothing is looked for, so that there is nothing says nothing
    if not processes or any(process.status == "zombie" for process in processes):
        return "unhealthy"
    matched = {process.matched_by for process in processes}
    return "healthy" if all(rule.name in matched for rule in config.rules) else "unhealthy"
