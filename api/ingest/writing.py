"""What an API process has for its reports: the writers, one for each kind, and what they remember."""

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from agent.wire.containers import ContainerReport
from agent.wire.pods import PodReport
from agent.wire.processes import ProcessReport
from api.auth import Principal
from api.ingest.batches import Batches
from api.ingest.clocks import Clocks, read_date
from api.ingest.container_reports import store_container_reports
from api.ingest.incoming import Incoming, Judge, Outcome, Report, judge_nothing
from api.ingest.pod_reports import store_pod_reports
from api.ingest.process_reports import report_day, store_process_reports
from api.metrics.process import ProcessMetrics
from api.schemas.reports import ReportAccepted
from db.errors import RacedError
from db.history.days import make_days
from db.history.process_sets import KnownSet, SetKey, SetMemory
from db.session import Database

Stored = TypeVar("Stored")


class Ingest:
    """Reports into a database, kept there for `kept_for`. `close()` when done."""

    def __init__(
        self,
        database: Database,
        kept_for: timedelta,
        judge_processes: Judge[ProcessReport] = judge_nothing,
        judge_containers: Judge[ContainerReport] = judge_nothing,
        judge_pods: Judge[PodReport] = judge_nothing,
        *,
        metrics: ProcessMetrics | None = None,
    ) -> None:
        self._database = database
        self._kept_for = kept_for
        self._judge_processes = judge_processes
        self._judge_containers = judge_containers
        self._judge_pods = judge_pods
        self._memory = SetMemory()
        self._days: frozenset[date] = frozenset()
        self._metrics = metrics or ProcessMetrics()
        self._clocks = Clocks()
        self.processes: Batches[Incoming[ProcessReport], ReportAccepted] = Batches(
            self.write_processes, "process-reports", self._metrics.reports("process").note_batch
        )
        self.containers: Batches[Incoming[ContainerReport], ReportAccepted] = Batches(
            self.write_containers, "container-reports", self._metrics.reports("container").note_batch
        )
        self.pods: Batches[Incoming[PodReport], ReportAccepted] = Batches(
            self.write_pods, "pod-reports", self._metrics.reports("pod").note_batch
        )
        self._metrics.show_waiting("process", lambda: self.processes.waiting)
        self._metrics.show_waiting("container", lambda: self.containers.waiting)
        self._metrics.show_waiting("pod", lambda: self.pods.waiting)

    def receive(
        self, report: Report, principal: Principal, received_at: datetime, date_header: str | None
    ) -> Incoming[Report]:
        """The report, with its time put right where its sender's clock is off. `date_header`: what that clock said."""
        sent_at = read_date(date_header)
        if sent_at is None:
            return Incoming(report, principal, received_at)
        whose = (principal.name, report.client_id)
        made_at, is_off = self._clocks.put_right(whose, report.reported_at, sent_at, received_at)
        if is_off:
            self._metrics.count_clock_off(_kind_of(report))
        return Incoming(report, principal, received_at, made_at)

    async def put(self, incoming: Incoming[Any], size: int) -> ReportAccepted:
        """The report's outcome, once it is durable. `size`: its bytes. Raises Refused, RowNotFoundError and what the
        database does.
        """
        if isinstance(incoming.report, ProcessReport):
            return await self.processes.put(incoming, size)
        if isinstance(incoming.report, PodReport):
            return await self.pods.put(incoming, size)
        return await self.containers.put(incoming, size)

    def close(self) -> None:
        """Wait for what is being written."""
        self.processes.close()
        self.containers.close()
        self.pods.close()

    def write_processes(self, batch: Sequence[Incoming[ProcessReport]]) -> list[Outcome]:
        """One transaction. Raises RacedError where it is to be done over."""

        def store(session: Session) -> tuple[list[Outcome], dict[SetKey, KnownSet]]:
            return store_process_reports(session, batch, self._kept_for, self._memory, self._judge_processes)

        outcomes, learned = self._write(batch, store)
        self._memory.learn(learned)
        self.count("process", outcomes)
        return outcomes

    def write_containers(self, batch: Sequence[Incoming[ContainerReport]]) -> list[Outcome]:
        """The same of containers."""
        outcomes = self._write(batch, lambda session: self._store_containers(session, batch))
        self.count("container", outcomes)
        return outcomes

    def write_pods(self, batch: Sequence[Incoming[PodReport]]) -> list[Outcome]:
        """The same of pods."""
        outcomes = self._write(batch, lambda session: self._store_pods(session, batch))
        self.count("pod", outcomes)
        return outcomes

    def _write(self, batch: Sequence[Incoming[Any]], store: Callable[[Session], Stored]) -> Stored:
        self.prepare(batch)
        try:
            with self._database.write() as session:
                return store(session)
        except RacedError:
            self.forget_days()
            raise

    def count(self, kind: str, outcomes: Iterable[Outcome]) -> None:
        """Count what is committed. What is refused is counted where it is answered."""
        kept = [one.duplicate for one in outcomes if isinstance(one, ReportAccepted)]
        self._metrics.reports(kind).count_kept(kept.count(False), duplicates=kept.count(True))

    def _store_containers(
        self, session: Session, batch: Sequence[Incoming[ContainerReport]]
    ) -> list[Outcome]:
        return store_container_reports(session, batch, self._kept_for, self._judge_containers)

    def _store_pods(self, session: Session, batch: Sequence[Incoming[PodReport]]) -> list[Outcome]:
        return store_pod_reports(session, batch, self._kept_for, self._judge_pods)

    def store_one(self, session: Session, incoming: Incoming[Any]) -> Outcome:
        """One report, in a transaction of the caller's, who has called `prepare`. Raises RacedError."""
        if isinstance(incoming.report, ProcessReport):
            judge = self._judge_processes
            outcomes, _ = store_process_reports(session, [incoming], self._kept_for, self._memory, judge)
            return outcomes[0]
        store = self._store_pods if isinstance(incoming.report, PodReport) else self._store_containers
        return store(session, [incoming])[0]

    def prepare(self, batch: Iterable[Incoming[Any]]) -> None:
        """Have the days that the reports belong to; in a transaction of its own, before theirs."""
        days = {report_day(one, self._kept_for) for one in batch}
        if not days <= self._days:
            make_days(self._database, days)
            self._days = frozenset(days | self._days) if len(self._days) < 100 else frozenset(days)

    def forget_days(self) -> None:
        """Look anew which days there are: one that was there may have been dropped."""
        self._days = frozenset()


def _kind_of(report: ProcessReport | ContainerReport | PodReport) -> str:
    if isinstance(report, ProcessReport):
        return "process"
    return "pod" if isinstance(report, PodReport) else "container"
