"""One monitor at work: collects every `collect_interval`, asks for the version now and then, submits reports."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime

from agent.monitors.reporting import Reporting
from agent.monitors.schedule import next_tick, probe_is_due
from agent.releases.errors import CannotAsk
from agent.releases.probe import probe_version
from agent.wire.monitors import Monitor
from agent.wire.processes import Collected

log = logging.getLogger("agent.monitors")

Identity = frozenset[tuple[int, int | None]]


class Watch:
    """Follows one project until it is cancelled. Times of the schedule are the event loop's (monotonic)."""

    def __init__(
        self,
        monitor: Monitor,
        reporting: Reporting,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.monitor = monitor
        self.last_report_at: datetime | None = None
        self.last_error: str | None = None
        self._reporting = reporting
        self._sleep = sleep
        self._observed: str | None = None
        self._identity: Identity = frozenset()
        self._rounds_since_probe: int | None = None

    async def run(self) -> None:
        """At once, and then every interval; one round's failure is logged and does not end the watch."""
        clock = asyncio.get_running_loop().time
        started_at = clock()
        while True:
            try:
                await self.observe()
            except Exception as error:
                log.exception("cannot report the processes of %s", self.monitor.project_id)
                self.last_error = f"cannot report: {type(error).__name__}"
            interval_s = self.monitor.process_config.collect_interval
            await self._sleep(max(0.0, next_tick(started_at, interval_s, clock()) - clock()))

    async def observe(self) -> None:
        """One round."""
        monitor, config = self.monitor, self.monitor.process_config
        collected = await self._reporting.collector.collect_in_thread(
            config.rules, resources=config.collect_resources
        )
        self.last_error = None
        await self._probe(collected)
        try:
            self.last_report_at = await self._reporting.submit(
                collected, monitor.project_id, monitor.version, monitor.release_id, self._observed
            )
        except OSError as error:
            self.last_error = f"cannot keep the report: {error.strerror}"
            log.error("%s (%s)", self.last_error, monitor.project_id)

    async def _probe(self, collected: Collected) -> None:
        monitor = self.monitor
        if monitor.version_probe is None:
            return
        identity = frozenset((process.pid, process.start_ticks) for process in collected.processes)
        changed, self._identity = identity != self._identity, identity
        if not probe_is_due(self._rounds_since_probe, processes_changed=changed):
            self._rounds_since_probe = (self._rounds_since_probe or 0) + 1
            return
        try:
            self._observed = await probe_version(
                monitor.version_probe, monitor.work_dir or "/", monitor.run_as
            )
            self._rounds_since_probe = 1
        except CannotAsk as error:
            self._observed, self._rounds_since_probe = None, None
            self.last_error = f"cannot ask for the version: {error}"
