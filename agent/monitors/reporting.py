"""Collects, makes a report of it, spools it and has it delivered."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from agent.errors import Refused
from agent.monitors.delivery import Delivery
from agent.monitors.reports import encode_report, make_report
from agent.monitors.spool import Spool
from agent.processes.collector import ProcessCollector
from agent.wire.processes import Collected, ProcessReport, Reported, ReportRequest


def _now() -> datetime:
    return datetime.now(UTC)


def needed_delivery(delivery: Delivery | None) -> Delivery:
    """Raises Refused (409: no use trying again) where no release API is configured."""
    if delivery is None:
        detail = "cannot report: this agent knows no release API (HOIST_AGENT_API_URL)"
        raise Refused(409, "No release API", detail)
    return delivery


async def spooled(spool: Spool, stream: str, body: bytes) -> int:
    """The report's number once it is on disk. Raises Refused (507) where there is no room."""
    try:
        return await asyncio.to_thread(spool.append, stream, body)
    except OSError as error:
        detail = f"cannot keep the report: {error.strerror}"
        raise Refused(507, "Insufficient storage", detail) from error


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
        delivery = needed_delivery(self.delivery)
        collected = await self.collector.collect_in_thread(request.rules, fresh=True)
        report = self._make(collected, request.project_id, request.version, request.release_id)
        number = await spooled(self.spool, report.project_id, encode_report(report))
        error_text = await delivery.deliver(number)
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

    async def drop(self, project_id: str) -> None:
        """Forget the project's reports that wait: it is watched no longer."""
        if self.delivery is not None:
            await self.delivery.drop(project_id, f"dropped: {project_id} is watched no longer")
        else:
            await asyncio.to_thread(self.spool.drop, project_id)

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
            dropped=self.spool.dropped(project_id),
        )

    async def _spool(self, report: ProcessReport) -> int:
        return await asyncio.to_thread(lambda: self.spool.append(report.project_id, encode_report(report)))
