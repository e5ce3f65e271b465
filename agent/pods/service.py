"""What is asked about a cluster's pods: collected and reported, without holding up the event loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

from agent.monitors.delivery import Delivery
from agent.monitors.reporting import needed_delivery, spooled
from agent.monitors.reports import encode_pod_report, make_pod_report
from agent.monitors.spool import PODS, Spool
from agent.pods.cluster import Cluster
from agent.pods.collector import PodCollector
from agent.pods.errors import ClusterUnavailable
from agent.pods.line import Line
from agent.pods.listing import Selection
from agent.wire.pods import CollectedPods, PodCollectRequest, PodReported, PodReportRequest


class Pods:
    """`delivery` None: no release API is configured, and nothing is reported."""

    def __init__(
        self,
        client_id: str,
        cluster: Cluster,
        collector: PodCollector,
        spool: Spool,
        delivery: Delivery | None,
    ) -> None:
        self._client_id = client_id
        self._cluster = cluster
        self._collector = collector
        self._spool = spool
        self._delivery = delivery
        self._collections = Line("pods")
        self._versions = Line("cluster-version")

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """At the end no pod is watched any more."""
        try:
            yield
        finally:
            await asyncio.to_thread(self._collector.close)

    async def version(self) -> str | None:
        """The API server's version, or None where there is no cluster that answers soon."""
        if not self._cluster.configured:
            return None
        try:
            return await self._versions.ask(self._cluster.version)
        except ClusterUnavailable:
            return None

    async def collect(self, request: PodCollectRequest) -> CollectedPods:
        """`pod.collect`. Raises ClusterUnavailable, ClusterRefused, NoCluster."""
        selection = Selection(request.namespace, request.label_selector)
        return await self._collections.ask(partial(self._collector.collect, selection))

    async def submit(self, request: PodCollectRequest) -> datetime:
        """Spool a report of the selection and wake the delivery; when it was made. Raises as `report`."""
        delivery = needed_delivery(self._delivery)
        collected = await self.collect(request)
        await self._spooled(collected, request)
        delivery.wake()
        return collected.collected_at or datetime.now(UTC)

    async def report(self, request: PodReportRequest) -> PodReported:
        """`pod.report`: collect and send now; what can't be delivered at once waits in the spool.

        Raises as `collect`: then nothing is reported, for "no pods" would be untrue. Raises Refused (409, 507).
        """
        delivery = needed_delivery(self._delivery)
        collected = await self.collect(request)
        report_id, number = await self._spooled(collected, request)
        error = await delivery.deliver(number)
        return PodReported(report_id=report_id, delivered=error is None, error=error, pods=collected.pods)

    async def _spooled(self, collected: CollectedPods, request: PodCollectRequest) -> tuple[str, int]:
        at, dropped = collected.collected_at or datetime.now(UTC), self._spool.dropped(PODS)
        report = make_pod_report(collected, request, client_id=self._client_id, at=at, dropped=dropped)
        return report.report_id or "", await spooled(self._spool, PODS, encode_pod_report(report))
