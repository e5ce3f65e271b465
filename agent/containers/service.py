"""What is asked about the host's containers: collected, listed, reported, without holding up the event loop."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from agent.containers.collector import ContainerCollector
from agent.containers.engine import Engine
from agent.containers.errors import EngineUnavailable
from agent.containers.line import Line
from agent.monitors.delivery import Delivery
from agent.monitors.reporting import needed_delivery, spooled
from agent.monitors.reports import encode_container_report, make_container_report
from agent.monitors.spool import CONTAINERS, Spool
from agent.wire.containers import (
    CollectedContainers,
    ContainerCollectRequest,
    ContainerInfo,
    ContainerListRequest,
    ContainerReported,
    ContainerReportRequest,
    ListedContainers,
    PrefixCount,
)


class Containers:
    """`delivery` None: no release API is configured, and nothing is reported."""

    def __init__(
        self,
        client_id: str,
        engine: Engine,
        collector: ContainerCollector,
        spool: Spool,
        delivery: Delivery | None,
    ) -> None:
        self._client_id = client_id
        self._engine = engine
        self._collector = collector
        self._spool = spool
        self._delivery = delivery
        self._collections = Line("containers")
        self._versions = Line("engine-version")

    async def version(self) -> str | None:
        """The engine's version, or None where there is none that answers soon."""
        try:
            return await self._versions.ask(self._engine.version)
        except EngineUnavailable:
            return None

    async def collect(self, request: ContainerCollectRequest) -> CollectedContainers:
        """`container.collect`. Raises EngineUnavailable."""
        collect = partial(self._collector.collect, request.prefixes, everything=request.all)
        return await self._collections.ask(collect)

    async def list_all(self, request: ContainerListRequest) -> ListedContainers:
        """`container.list`: every container that a prefix covers, and how many each has. Raises EngineUnavailable."""
        collect = partial(self._collector.collect, request.prefixes, measured=False)
        collected = await self._collections.ask(collect)
        return ListedContainers(
            docker_version=collected.docker_version,
            containers=collected.containers,
            counts=count_by_prefix(request.prefixes, collected.containers),
        )

    async def submit(self, *, urgent: bool = False) -> datetime:
        """Spool a report of everything on the host and wake the delivery; when it was made.

        `urgent`: something has changed, and the CPU of what was never looked at is not waited for.
        Raises EngineUnavailable (nothing is reported then), Refused (409, 507).
        """
        delivery = needed_delivery(self._delivery)
        collected = await self._collections.ask(partial(self._collector.collect, urgent=urgent))
        at = collected.collected_at or datetime.now(UTC)
        dropped = self._spool.dropped(CONTAINERS)
        report = make_container_report(collected, client_id=self._client_id, at=at, dropped=dropped)
        await spooled(self._spool, CONTAINERS, encode_container_report(report))
        delivery.wake()
        return at

    async def report(self, request: ContainerReportRequest) -> ContainerReported:
        """`container.report`: collect and send now; what can't be delivered at once waits in the spool.

        The report has everything on the host, whatever is asked about: it takes the place of the one before it, and what
        it lacked would be taken for gone. The answer has what was asked about.
        Raises EngineUnavailable: then nothing is reported, for "no containers" would be untrue. Raises Refused (409, 507).
        """
        delivery = needed_delivery(self._delivery)
        collect = partial(self._collector.collect, request.prefixes, everything=True)
        collected = await self._collections.ask(collect)
        at = collected.collected_at or datetime.now(UTC)
        dropped = self._spool.dropped(CONTAINERS)
        report = make_container_report(collected, client_id=self._client_id, at=at, dropped=dropped)
        number = await spooled(self._spool, CONTAINERS, encode_container_report(report))
        error = await delivery.deliver(number)
        return ContainerReported(
            report_id=report.report_id or "",
            delivered=error is None,
            error=error,
            docker_version=collected.docker_version,
            containers=asked_for(request, collected.containers),
        )


def asked_for(
    request: ContainerCollectRequest, containers: Sequence[ContainerInfo]
) -> tuple[ContainerInfo, ...]:
    """Those of all `containers` that the request is about."""
    if request.all:
        return tuple(containers)
    return tuple(one for one in containers if one.matched_prefix is not None)


def count_by_prefix(prefixes: Sequence[str], containers: Sequence[ContainerInfo]) -> tuple[PrefixCount, ...]:
    """How many of the `containers`, which were collected with these prefixes, each prefix has."""
    states: dict[str, dict[str, int]] = {prefix: {} for prefix in prefixes}
    for container in containers:
        if container.matched_prefix is not None:
            mine = states[container.matched_prefix]
            mine[container.state] = mine.get(container.state, 0) + 1
    return tuple(
        PrefixCount(prefix=prefix, count=sum(mine.values()), running=mine.get("running", 0), states=mine)
        for prefix, mine in states.items()
    )
