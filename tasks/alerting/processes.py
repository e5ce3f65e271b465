"""Process reports, judged: what they say about each rule of the version that is installed."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from agent.wire.processes import ProcessConfig, ProcessInfo
from db.queries.alerts import Pair
from tasks.alerting.calm import Basis, CalmPairs
from tasks.alerting.changing import Look
from tasks.alerting.judging import Judging
from tasks.decisions.process_watching import (
    MISSED_INTERVALS,
    Identity,
    Lost,
    ProcessesFound,
    ProcessMemory,
    is_moderate,
    observe_processes,
)

KIND = "process"
TYPES = ("process_exit", "process_restart", "process_cpu_high", "process_memory_high")
_CALM = CalmPairs()


class ProcessesSeen(NamedTuple):
    """A client's newest report about a project, of a version. `at`: when it was made, `received_at`: when it came.

    `unmatched_rules`: those that the agent looked for and found nothing of; None: it does not say. `said`: a hash of
    everything in it that is no measurement; None: not known.
    """

    client_id: str
    project_id: str
    version: str
    release_id: str | None
    processes: Sequence[ProcessInfo]
    at: datetime
    received_at: datetime
    unmatched_rules: Sequence[str] | None = None
    said: int | None = None

    @property
    def pair(self) -> Pair:
        """The client and the project."""
        return (self.client_id, self.project_id)

    @property
    def seen(self) -> ProcessesFound:
        """What it shows."""
        looked_for = None
        if self.unmatched_rules is not None:
            looked_for = {*self.unmatched_rules, *[one.matched_by for one in self.processes]}
        return ProcessesFound(self.at, self.processes, self.release_id, looked_for)


def judge_processes(session: Session, reports: Sequence[ProcessesSeen]) -> None:
    """Judge each report by the version that is installed, in the transaction that keeps it.

    One that is too old to say what is there now is passed over: what has been spooled for an hour is history.
    """
    if not reports:
        return
    since = min([one.at for one in reports])
    judging = Judging(session, [one.pair for one in reports], KIND, TYPES, since=since)
    for report in reports:
        config = judging.config(report.pair)
        if _is_fresh(report, config) and not _is_calm(judging, report, config):
            _judge(judging, report, config)
    judging.keep()


def _is_fresh(report: ProcessesSeen, config: ProcessConfig) -> bool:
    return report.received_at - report.at <= MISSED_INTERVALS * timedelta(seconds=config.collect_interval)


def _judge(judging: Judging, report: ProcessesSeen, config: ProcessConfig) -> None:
    pair, seen, look = report.pair, report.seen, Look(report.at, report.received_at)
    live, before = judging.live(pair), _memory_of(judging.memory(pair))
    exits = {one.subject for one in live if one.type == "process_exit" and one.fired_at}
    observed, memory = observe_processes(config, seen, before, firing_exits=exits)
    raised = any(one.holds for one in observed)
    if not judging.is_installed(pair, report.version):
        # What another version's rules find is not this one's: its monitor is put right by the next heartbeat.
        observed = [one._replace(holds=None) for one in observed]
    elif (live or raised) and judging.is_deploying(pair, look):
        observed, memory = observe_processes(config, seen, before, firing_exits=exits, judged=False)
    judging.apply(pair, observed, look)
    document = _document_of(memory)
    changed_nothing = not raised and not memory.lost and document == judging.memory(pair)
    if changed_nothing and is_moderate(config, report.processes):
        _CALM.learn(pair, _basis_of(judging, report))
    judging.remember(pair, document)


def _is_calm(judging: Judging, report: ProcessesSeen, config: ProcessConfig) -> bool:
    """Whether judging it would change nothing: it says what the one before it said, which changed nothing either."""
    return (
        not judging.live(report.pair)
        and _CALM.knows(report.pair, _basis_of(judging, report))
        and is_moderate(config, report.processes)
    )


def _basis_of(judging: Judging, report: ProcessesSeen) -> Basis | None:
    config, memory = judging.basis(report.pair)
    if report.said is None or memory is None:
        return None
    return Basis(report.said, report.unmatched_rules, hash((config, memory)))


def _memory_of(document: Mapping[str, Any]) -> ProcessMemory:
    roots = {rule: _identities_of(identities) for rule, identities in document.get("roots", {}).items()}
    lost = {
        rule: Lost(datetime.fromisoformat(at), _identities_of(identities))
        for rule, (at, identities) in document.get("lost", {}).items()
    }
    return ProcessMemory(document.get("release_id"), roots, lost)


def _identities_of(documents: Sequence[Sequence[int]]) -> frozenset[Identity]:
    return frozenset([(pid, ticks) for pid, ticks in documents])


def _document_of(memory: ProcessMemory) -> dict[str, Any]:
    roots = {rule: sorted(map(list, identities)) for rule, identities in memory.roots.items() if identities}
    document: dict[str, Any] = {"release_id": memory.release_id, "roots": roots}
    if memory.lost:
        document["lost"] = {
            rule: [one.at.isoformat(), sorted(map(list, one.roots))] for rule, one in memory.lost.items()
        }
    return document
