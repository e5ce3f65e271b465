"""Collects, makes a report of it, spools it and has it delivered."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from agent.errors import Refused
from agent.monitors.delivery import Delivery
from agent.monitors.errors import TransientReportError
from agent.monitors.reports import encode_report, make_report
from agent.monitors.spool import Spool
from agent.processes.collector import ProcessCollector
from agent.wire.processes import Collected, ProcessReport, Reported, ReportRequest

DELIVER_WITHIN_S = 25.0
"""How long `process.report` waits for its report's turn: a long spool is delivered first."""


def _now() -> datetime:
    return datetime.now(UTC)


class Reporting:
    """`delivery` None: no release API is configured, and nothing is reported."""

    def __init__(
        self,
        client_id: str,
        collector: ProcessCollector,
        spool: Spool,
        delivery: Delivery | None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self.delivery = delivery
        self.spool = spool
        self.collector = collector
        self._client_id = client_id
        self._clock = clock

    async def report(self, request: ReportRequest) -> Reported:
        """`process.report`: collect and send now; what can't be delivered at once waits in the spool.

        Raises Refused (409: no use trying again) where no release API is configured, (507) where the disk is full.
        """
        if self.delivery is None:
            detail = "cannot report: this agent knows no release API (HOIST_AGENT_API_URL)"
            raise Refused(409, "No release API", detail)
        collected = await self.collector.collect_in_thread(request.rules, fresh=True)
        report = self._make(collected, request.project_id, request.version, request.release_id)
        try:
            number = await self._spool(report)
        except OSError as error:
            detail = f"cannot keep the report: {error.strerror}"
            raise Refused(507, "Insufficient storage", detail) from error
        error_text = await self._deliver(self.delivery, number)
        return Reported(
            report_id=report.report_id or "",
            delivered=error_text is None,
            error=error_text,
            processes=collected.processes,
            unmatched_rules=collected.unmatched_rules,
        )

    async def submit(
        self, collected: Collected, project_id: str, version: str, release_id: str, observed: str | None
    ) -> datetime:
        """Spool a monitor's report and wake the delivery; when it was made. Raises OSError."""
        report = self._make(collected, project_id, version, release_id, observed)
        await self._spool(report)
        if self.delivery is not None:
            self.delivery.wake()
        return report.reported_at

    def _make(
        self,
        collected: Collected,
        project_id: str,
        version: str,
        release_id: str | None,
        observed: str | None = None,
    ) -> ProcessReport:
        return make_report(
            collected,
            client_id=self._client_id,
            project_id=project_id,
            version=version,
            release_id=release_id,
            observed_version=observed,
            at=collected.collected_at or self._clock(),
        )

    async def _spool(self, report: ProcessReport) -> int:
        return await asyncio.to_thread(lambda: self.spool.append(report.project_id, encode_report(report)))

    async def _deliver(self, delivery: Delivery, number: int) -> str | None:
        """None once the release API has the report; else why it has not."""
        try:
            async with asyncio.timeout(DELIVER_WITHIN_S):
                await delivery.flush()
        except TransientReportError as error:
            delivery.wake()
            return str(error)
        except TimeoutError:
            delivery.wake()
            if number in self.spool:
                return (
                    f"cannot deliver the report within {DELIVER_WITHIN_S:g} s: {len(self.spool)} reports wait"
                )
        return delivery.refusal(number)
