"""Rules, the processes they match, and the reports of them: `process.collect`, `process.report`."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from agent.wire.base import (
    Answer,
    ClientId,
    Dropped,
    FiniteFloat,
    OpaqueId,
    Request,
    Text,
    UtcDatetime,
    VersionName,
    check_no_nul,
)

RuleType = Literal["name", "cmdline", "pidfile", "port"]
ProcessStatus = Literal["running", "sleeping", "disk_sleep", "stopped", "zombie", "idle"]

MAX_CMDLINE_BYTES = 4096


class Rule(Request):
    """Which processes are the project's: see "Rules" in docs/how-to/process-monitoring.md."""

    type: RuleType
    pattern: Annotated[Text, Field(min_length=1, max_length=500)]
    name: Annotated[Text, Field(min_length=1, max_length=100)]

    @field_validator("pattern")
    @classmethod
    def _pattern_fits_type(cls, pattern: str, info: ValidationInfo) -> str:
        kind = info.data.get("type")
        if kind == "port" and not (pattern.isascii() and pattern.isdigit() and 1 <= int(pattern) <= 65_535):
            raise ValueError("a port rule's pattern is a number from 1 to 65535")
        if kind == "pidfile" and (not pattern.startswith("/") or ".." in pattern.split("/")):
            raise ValueError("a pidfile rule's pattern is an absolute path without '..'")
        return pattern


def _unique_names(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    names = [rule.name for rule in rules]
    if len(set(names)) != len(names):
        raise ValueError("rule names must be unique")
    return rules


class ProcessConfig(Request):
    """What of a version's processes is watched, and how often (seconds).

    The alert fields are the release API's business, which judges the reports: agents are told without `alert_for_s`
    (how many seconds a limit is exceeded before it is an alert; None: 300).
    """

    rules: Annotated[tuple[Rule, ...], Field(max_length=50)] = ()
    collect_interval: Annotated[int, Field(strict=True, ge=5, le=86_400)] = 60
    collect_resources: bool = True
    alert_on_exit: bool = True
    alert_on_high_cpu: Annotated[FiniteFloat, Field(gt=0, le=100_000)] | None = None
    alert_on_high_mem: Annotated[FiniteFloat, Field(gt=0, le=100)] | None = None
    alert_for_s: Annotated[int, Field(strict=True, ge=0, le=86_400)] | None = None

    @field_validator("rules")
    @classmethod
    def _names_are_unique(cls, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        return _unique_names(rules)


class ProcessInfo(Answer):
    """One match of one rule. (boot id, pid, start_ticks) is the process's identity; `is_root`: its parent is no match.

    `cpu_percent` is of one core, between two samples; null where it was not measured.
    """

    pid: Annotated[int, Field(ge=1, le=2**31)]
    name: Annotated[str, Field(max_length=4096)]
    cmdline: Annotated[str, Field(max_length=MAX_CMDLINE_BYTES)] = ""
    start_time: UtcDatetime
    status: ProcessStatus
    cpu_percent: Annotated[FiniteFloat, Field(ge=0)] | None = None
    memory_mb: Annotated[FiniteFloat, Field(ge=0)] | None = None
    memory_pct: Annotated[FiniteFloat, Field(ge=0)] | None = None
    matched_by: Annotated[str, Field(max_length=100)]
    survives_agent_stop: bool | None = None
    survival_reason: Annotated[str, Field(max_length=500)] | None = None
    survives_reboot: bool | None = None
    ppid: int | None = None
    start_ticks: int | None = None
    is_root: bool | None = None
    ports: Annotated[tuple[int, ...], Field(max_length=1000)] | None = None


class CollectRequest(Request):
    """Collect now what matches `rules`."""

    project_id: OpaqueId
    rules: Annotated[tuple[Rule, ...], Field(max_length=50)]

    @field_validator("rules")
    @classmethod
    def _names_are_unique(cls, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        return _unique_names(rules)


class Collected(Answer):
    """What matched, and the names of the rules that matched nothing."""

    processes: tuple[ProcessInfo, ...] = ()
    unmatched_rules: tuple[str, ...] = ()
    boot_id: str | None = None
    collected_at: UtcDatetime | None = None


class ReportRequest(CollectRequest):
    """Collect what matches `rules` and send it to the release API now."""

    version: VersionName
    release_id: OpaqueId | None = None


class Reported(Answer):
    """`delivered`: the release API has it; else it waits in the spool, and `error` says why."""

    report_id: str
    delivered: bool
    error: str | None = None
    processes: tuple[ProcessInfo, ...] = ()
    unmatched_rules: tuple[str, ...] = ()


class ProcessReport(Answer):
    """What an agent tells the release API: POST /release/process-report."""

    client_id: ClientId
    project_id: OpaqueId
    version: VersionName
    processes: Annotated[tuple[ProcessInfo, ...], Field(max_length=10_000)]
    reported_at: UtcDatetime
    release_id: OpaqueId | None = None
    unmatched_rules: Annotated[tuple[Annotated[str, Field(max_length=100)], ...], Field(max_length=50)] = ()
    observed_version: Annotated[str, Field(max_length=100)] | None = None
    report_id: OpaqueId | None = None
    dropped_reports: Dropped | None = None

    @model_validator(mode="after")
    def _no_nul(self) -> "ProcessReport":
        check_no_nul(self)
        return self
