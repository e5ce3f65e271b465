"""What reports say, as observations that alerts are decided by."""

from typing import NamedTuple

from tasks.decisions.alerts import Timing

LEVELS = {
    "process_exit": "critical",
    "process_restart": "warning",
    "process_cpu_high": "warning",
    "process_memory_high": "warning",
    "container_stopped": "critical",
    "container_restarted": "warning",
    "container_unhealthy": "critical",
    "container_cpu_high": "warning",
    "container_memory_high": "warning",
    "pod_failed": "critical",
    "pod_restarted": "warning",
    "pod_not_ready": "warning",
    "client_offline": "critical",
    "drift": "warning",
}
"""Every type of alert, and its level."""

EXIT_WAITS_S = 1.0
"""Back within it, an exit was a restart."""
RESTART_KEPT_S = 300.0
"""A restart is a moment: its alert resolves when there was no other for so long."""
LOAD_HELD_S = 300.0
"""How long a limit is exceeded before it is an alert, unless told otherwise."""
LOAD_KEPT_S = 60.0


class Observed(NamedTuple):
    """One condition of one rule, container or pod (`subject`), as a report shows it; `holds` None: not to be judged."""

    type: str
    subject: str
    holds: bool | None
    timing: Timing
    message: str = ""
    value: float | None = None
    threshold: float | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from the project's others on the same client."""
        return (self.type, self.subject)


def above(type_: str, subject: str, value: float | None, limit: float | None, timing: Timing) -> Observed:
    """A measurement against its limit; one that was not taken is not judged. Nothing is said of one that is within."""
    if value is None or limit is None or value <= limit:
        holds = None if value is None or limit is None else False
        return Observed(type_, subject, holds, timing, "", value, limit)
    what = "CPU" if "cpu" in type_ else "memory"
    message = f"{subject}: {what} {value:.1f} %, limit {limit:.1f} %"
    return Observed(type_, subject, True, timing, message, value, limit)
