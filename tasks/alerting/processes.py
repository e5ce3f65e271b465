"""Process reports, judged: what they say about each rule of the version that is installed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from agent.wire.processes import ProcessConfig, ProcessInfo
from db.queries.alerts import Pair
from tasks.alerting.changing import Look
from tasks.alerting.judging import Judging
from tasks.decisions.process_watching import MISSED_INTERVALS, ProcessMemory, observe_processes

KIND = "process"
TYPES = ("process_exit", "process_restart", "process_cpu_high", "process_memory_high")


@dataclass(frozen=True, slots=True)
class ProcessesSeen:
    """A client's newest report about a project. `at`: when it was made, `received_at`: when it came.

    `unmatched_rules`: those that the agent looked for and found nothing of; None: it does not say.
    """

    client_id: str
    project_id: str
    release_id: str | None
    processes: Sequence[ProcessInfo]
    at: datetime
    received_at: datetime
    unmatched_rules: Sequence[str] | None = None

    @property
    def looked_for(self) -> set[str] | None:
        """The rules that the agent knew; None: nobody knows."""
        if self.unmatched_rules is None:
            return None
        return {*self.unmatched_rules, *(one.matched_by for one in self.processes)}

    @property
    def pair(self) -> Pair:
        """The client and the project."""
        return (self.client_id, self.project_id)


def judge_processes(session: Session, reports: Sequence[ProcessesSeen]) -> None:
    """Judge each report by the version that is installed, in the transaction that keeps it.

    One that is too old to say what is there now is passed over: what has been spooled for an hour is history.
    """
    if not reports:
        return
    judging = Judging(session, [one.pair for one in reports], KIND, TYPES)
    for report in reports:
        config = judging.configs.get(report.pair, ProcessConfig())
        if _is_fresh(report, config):
            _judge(judging, report, config)
    judging.keep()


def _is_fresh(report: ProcessesSeen, config: ProcessConfig) -> bool:
    return report.received_at - report.at <= MISSED_INTERVALS * timedelta(seconds=config.collect_interval)


def _judge(judging: Judging, report: ProcessesSeen, config: ProcessConfig) -> None:
    live = judging.live(report.pair)
    observed, memory = observe_processes(
        config,
        report.processes,
        report.release_id,
        _memory_of(judging.memory(report.pair)),
        looked_for=report.looked_for,
        firing_exits={one.subject for one in live if one.type == "process_exit" and one.fired_at},
        deploying=report.pair in judging.deploying,
    )
    judging.apply(report.pair, observed, Look(report.at, report.received_at))
    judging.remember(report.pair, _document_of(memory))


def _memory_of(document: Mapping[str, Any]) -> ProcessMemory:
    roots = {
        rule: frozenset((pid, ticks) for pid, ticks in identities)
        for rule, identities in document.get("roots", {}).items()
    }
    return ProcessMemory(document.get("release_id"), roots)


def _document_of(memory: ProcessMemory) -> dict[str, Any]:
    roots = {rule: sorted(map(list, identities)) for rule, identities in memory.roots.items() if identities}
    return {"release_id": memory.release_id, "roots": roots}
