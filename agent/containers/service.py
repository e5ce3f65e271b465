"""What is asked about the host's containers: collected, listed, reported, without holding up the event loop."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from agent.containers.collector import SEPARATORS, ContainerCollector
from agent.containers.engine import Engine
from agent.containers.errors import EngineUnavailable
from agent.monitors.delivery import Delivery
from agent.monitors.reporting import needed_delivery, spooled
from agent.monitors.reports import encode_container_report, make_container_report
from agent.monitors.spool import CONTAINERS, Spool
from agent.naming import Claim, owner_of
from agent.wire.containers import (
    CollectedContainers,
    ContainerCollectRequest,
    ContainerInfo,
    ContainerListRequest,
    ContainerReported,
    ListedContainers,
    PrefixCount,
)

T = TypeVar("T")
THREADS = 4
MOST_WAITING = 32
ANSWER_WITHIN_S = 20.0
"""A collection that waits for others longer than this is refused: the engine is too slow for what is asked of it."""


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
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="containers")
        self._waiting = 0

    async def version(self) -> str | None:
        """The engine's version, or None where there is none that answers soon."""
        if self._engine.socket is not None and not self._engine.socket.exists():
            return None
        try:
            return await self._in_thread(self._engine.version)
        except EngineUnavailable:
            return None

    async def collect(self, request: ContainerCollectRequest) -> CollectedContainers:
        """`container.collect`. Raises EngineUnavailable."""
        return await self._in_thread(partial(self._collector.collect, request.prefixes))

    async def list_all(self, request: ContainerListRequest) -> ListedContainers:
        """`container.list`: every container that a prefix covers, and how many each has. Raises EngineUnavailable."""
        collect = partial(self._collector.collect, request.prefixes, measured=False)
        collected = await self._in_thread(collect)
        return ListedContainers(
            docker_version=collected.docker_version,
            containers=collected.containers,
            counts=count_by_prefix(request.prefixes, collected.containers),
        )

    async def report(self, request: ContainerCollectRequest) -> ContainerReported:
        """`container.report`: collect and send now; what can't be delivered at once waits in the spool.

        Raises EngineUnavailable: then nothing is reported, for "no containers" would be untrue. Raises Refused (409, 507).
        """
        delivery = needed_delivery(self._delivery)
        collected = await self.collect(request)
        at = collected.collected_at or datetime.now(UTC)
        report = make_container_report(collected, client_id=self._client_id, at=at)
        number = await spooled(self._spool, CONTAINERS, encode_container_report(report))
        error = await delivery.deliver(number)
        return ContainerReported(
            report_id=report.report_id or "",
            delivered=error is None,
            error=error,
            docker_version=collected.docker_version,
            containers=collected.containers,
        )

    async def _in_thread(self, ask: Callable[[], T]) -> T:
        """In a thread of this class's own: a slow engine takes none from the rest of the agent."""
        if self._waiting >= MOST_WAITING:
            raise EngineUnavailable("too many questions wait for it already")
        self._waiting += 1
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        except TimeoutError:
            raise EngineUnavailable("it does not answer in time") from None
        finally:
            self._waiting -= 1


def count_by_prefix(prefixes: Sequence[str], containers: Sequence[ContainerInfo]) -> tuple[PrefixCount, ...]:
    """How many containers each prefix has, each container counted for the longest that covers it."""
    claims = [Claim(prefix, prefix, separator) for prefix in prefixes for separator in SEPARATORS]
    states: dict[str, dict[str, int]] = {prefix: {} for prefix in prefixes}
    for container in containers:
        claim = owner_of(container.container_name, claims)
        if claim is not None:
            mine = states[claim.prefix]
            mine[container.state] = mine.get(container.state, 0) + 1
    return tuple(
        PrefixCount(prefix=prefix, count=sum(mine.values()), running=mine.get("running", 0), states=mine)
        for prefix, mine in states.items()
    )
