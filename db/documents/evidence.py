"""What proves a version (its evidence settings), and what was seen when a client was judged."""

from typing import Annotated, Literal

from pydantic import Field

from agent.wire.base import Answer, Request, UtcDatetime
from agent.wire.containers import ContainerInfo
from agent.wire.pods import PodInfo
from agent.wire.processes import ProcessInfo
from agent.wire.releases import Check, CheckResult, VersionProbe


class EvidenceConfig(Request):
    """`source: exit_code` takes the script's word; `processes` wants the rules, the probe and the checks to hold."""

    source: Literal["processes", "exit_code"] = "processes"
    version_probe: VersionProbe | None = None
    checks: Annotated[tuple[Check, ...], Field(max_length=20)] = ()
    reload_in_place: bool = False


class Evidence(Answer):
    """What was seen on one client. `verdict` is a named reason; `version_proven` is false without a probe.

    `gap_ms`: for how long nothing served while one container was replaced by the next; None where it was no container.
    """

    verdict: str
    held: bool
    detail: str = ""
    version_proven: bool = False
    wanted_version: str | None = None
    observed_version: str | None = None
    boot_id: str | None = None
    processes: tuple[ProcessInfo, ...] = ()
    unmatched_rules: tuple[str, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    containers: tuple[ContainerInfo, ...] = ()
    pods: tuple[PodInfo, ...] = ()
    execution_started_at: UtcDatetime | None = None
    stable_for_s: float | None = None
    gap_ms: int | None = None
    judged_at: UtcDatetime | None = None
