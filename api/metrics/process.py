"""What one API process counts of itself: its requests, its reports, its batches, its memory.

Another process has its own: Prometheus tells them apart by `instance`, and they are added up there.
"""

from collections.abc import Callable, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

METHODS = frozenset({"GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS"})
OUTCOMES = ("ingested", "duplicate", "refused", "failed")
WAIT_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BATCH_BUCKETS = (1, 2, 5, 10, 25, 50, 100, 200, 350, 500)

disable_created_metrics()  # type: ignore[no-untyped-call] # its way to leave out when each one was made


class ReportMetrics:
    """One kind of reports in this process."""

    def __init__(self, outcomes: Counter, batches: Histogram, waits: Histogram, kind: str) -> None:
        by_outcome = {outcome: outcomes.labels(kind, outcome) for outcome in OUTCOMES}
        self.ingested = by_outcome["ingested"]
        self.duplicate = by_outcome["duplicate"]
        self.refused = by_outcome["refused"]
        self.failed = by_outcome["failed"]
        self.batch_reports = batches.labels(kind)
        self.wait_s = waits.labels(kind)

    def count_answer(self, status: int) -> None:
        """One more report was answered with that status. Of those that are taken, whoever keeps them says more."""
        if status >= 500:
            self.failed.inc()
        elif status >= 400:
            self.refused.inc()

    def note_batch(self, waited_s: Sequence[float]) -> None:
        """A batch is written; how long each of its reports waited."""
        self.batch_reports.observe(len(waited_s))
        for one in waited_s:
            self.wait_s.observe(one)

    def count_kept(self, new: int, *, duplicates: int) -> None:
        """So many more reports are in the database, and so many were there before."""
        self.ingested.inc(new)
        self.duplicate.inc(duplicates)


class ProcessMetrics:
    """Everything that this process counts. Safe to share by threads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._requests = Counter(
            "hoist_api_requests",
            "Requests answered by this process.",
            ("method", "status"),
            registry=self.registry,
        )
        self._outcomes = Counter(
            "hoist_reports",
            "Reports by what became of them: refused are those answered 4xx, failed 5xx.",
            ("kind", "outcome"),
            registry=self.registry,
        )
        self._clocks_off = Counter(
            "hoist_reports_clock_off",
            "Reports whose sender's clock is off: their time was put right.",
            ("kind",),
            registry=self.registry,
        )
        for kind in REPORT_KINDS.values():
            self._clocks_off.labels(kind)
        self._batches = Histogram(
            "hoist_ingest_batch_reports",
            "Reports that were written in one transaction.",
            ("kind",),
            buckets=BATCH_BUCKETS,
            registry=self.registry,
        )
        self._waits = Histogram(
            "hoist_ingest_wait_seconds",
            "How long a report waited from its being read to its being durable.",
            ("kind",),
            buckets=WAIT_BUCKETS_S,
            registry=self.registry,
        )
        self._waiting = Gauge(
            "hoist_ingest_waiting_reports",
            "Reports in memory that wait to be written; at 10,000 the next is answered 503.",
            ("kind",),
            registry=self.registry,
        )
        self._reports: dict[str, ReportMetrics] = {}
        self._answers: dict[tuple[str, int], Counter] = {}

    def reports(self, kind: str) -> ReportMetrics:
        """Those of that kind: process, container, pod."""
        if kind not in self._reports:
            self._reports[kind] = ReportMetrics(self._outcomes, self._batches, self._waits, kind)
        return self._reports[kind]

    def show_waiting(self, kind: str, how_many: Callable[[], float]) -> None:
        """Ask for how many reports wait when it is to be shown."""
        self._waiting.labels(kind).set_function(how_many)

    def count_clock_off(self, kind: str) -> None:
        """One more report's time was put right."""
        self._clocks_off.labels(kind).inc()

    def count_request(self, method: str, path: str, status: int) -> None:
        """One more request, answered with that status."""
        said = (method if method in METHODS else "other", status)
        counter = self._answers.get(said)
        if counter is None:
            counter = self._answers[said] = self._requests.labels(said[0], str(status))
        counter.inc()
        kind = REPORT_KINDS.get(path) if method == "POST" else None
        if kind is not None:
            self.reports(kind).count_answer(status)

    def render(self) -> str:
        """Prometheus' text format 0.0.4."""
        return generate_latest(self.registry).decode()


REPORT_KINDS = {
    "/release/process-report": "process",
    "/release/container-report": "container",
    "/release/pod-report": "pod",
}
