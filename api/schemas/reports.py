"""Process reports and what they say of a project, on the wire."""

from typing import Literal

from agent.wire.base import Answer, UtcDatetime
from agent.wire.processes import ProcessInfo

ClientStatus = Literal["healthy", "unhealthy", "unknown"]


class ReportAccepted(Answer):
    """The report is in the database. `duplicate`: it was before; `newest`: no newer one is known."""

    report_id: str
    duplicate: bool
    newest: bool


class ClientProcesses(Answer):
    """What a client's newest report says. `last_report` is when it was made; null when there never was one."""

    client_id: str
    version: str
    processes: tuple[ProcessInfo, ...]
    unmatched_rules: tuple[str, ...]
    observed_version: str | None
    last_report: UtcDatetime | None
    status: ClientStatus


class ProjectProcesses(Answer):
    """One entry for each installation, reported or not."""

    project_id: str
    clients: tuple[ClientProcesses, ...]
