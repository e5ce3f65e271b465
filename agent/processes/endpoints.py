"""`process.collect` and `process.report` over HTTP."""

from typing import Protocol

from agent.endpoints import Call, Endpoint
from agent.processes.collector import ProcessCollector
from agent.wire.processes import Collected, CollectRequest, Reported, ReportRequest


class Reporter(Protocol):
    """Sends what was collected to the release API, or keeps it until that is possible."""

    async def report(self, request: ReportRequest) -> Reported:
        """Collect and send now; raises Refused where no release API is configured."""
        ...


def process_endpoints(collector: ProcessCollector, reporter: Reporter) -> list[Endpoint]:
    """The process commands."""

    async def collect(call: Call) -> Collected:
        request: CollectRequest = call.body
        return await collector.collect_in_thread(request.rules, fresh=True)

    async def report(call: Call) -> Reported:
        return await reporter.report(call.body)

    return [
        Endpoint(
            method="POST",
            path="/v1/commands/process.collect",
            name="process.collect",
            summary="Collect the processes that match the rules now",
            request=CollectRequest,
            answer=Collected,
            handler=collect,
        ),
        Endpoint(
            method="POST",
            path="/v1/commands/process.report",
            name="process.report",
            summary="Collect the processes that match the rules, and send them to the release API now",
            request=ReportRequest,
            answer=Reported,
            handler=report,
        ),
    ]
