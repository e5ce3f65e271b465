"""One monitor at work: looks every `collect_interval` and when a process ends, asks for the version, submits reports."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable
from datetime import datetime
from typing import Never, TypeVar

from agent.monitors.looking import Looking
from agent.monitors.looks import Look
from agent.monitors.reporting import Reporting
from agent.monitors.schedule import probe_is_due
from agent.monitors.seen import Seen, what_is_seen
from agent.processes.exits import Exits, Room
from agent.releases.errors import CannotAsk
from agent.releases.probe import probe_version
from agent.wire.monitors import Monitor
from agent.wire.processes import Collected

log = logging.getLogger("agent.monitors")

T = TypeVar("T")
Identity = frozenset[tuple[int, int | None]]


class Watch:
    """Follows one project until it is cancelled. `room`: for how many processes more an end is noticed at once."""

    def __init__(self, monitor: Monitor, reporting: Reporting, room: Room) -> None:
        self.monitor = monitor
        self.last_report_at: datetime | None = None
        self.last_error: str | None = None
        self._reporting = reporting
        self._looking = Looking(monitor.process_config.collect_interval)
        self._exits = Exits(self._looking.notice, room)
        self._usual = Seen()
        self._reported: Seen | None = None
        self._observed: str | None = None
        self._identity: Identity = frozenset()
        self._rounds_since_probe: int | None = None

    @property
    def has_work(self) -> bool:
        """Whether its project has processes to report: one of containers or pods alone has none."""
        monitor = self.monitor
        others = monitor.containers or monitor.pods is not None
        return bool(monitor.process_config.rules or monitor.version_probe or not others)

    async def run(self) -> Never:
        """At once, every interval, and soon after an exit; one look's failure is logged and does not end the watch."""
        try:
            await self._looking.run(self._look_safely)
        finally:
            self._exits.close()

    async def _look_safely(self, look: Look) -> bool:
        try:
            return await self._look(look)
        except Exception as error:  # a fault of ours: the next look tries again
            log.exception("cannot report the processes of %s", self.monitor.project_id)
            self.last_error = f"cannot report: {type(error).__name__}"
            return True

    async def _look(self, look: Look) -> bool:
        """Whether everything runs that did before."""
        config = self.monitor.process_config
        collected = await self._reporting.collector.collect_in_thread(
            config.rules, resources=config.collect_resources
        )
        self.last_error = None
        seen = what_is_seen(collected)
        self._exits.follow(seen.roots)
        settled = seen.has_all_of(self._usual)
        if settled or not look.followed:
            self._usual = seen
        if look.by_interval and not await self._probe(collected):
            return settled  # something ended meanwhile: the look that follows at once says more
        if look.by_interval or seen != self._reported or (look.confirms and not settled):
            await self._submit(collected, seen)
        return settled

    async def _submit(self, collected: Collected, seen: Seen) -> None:
        monitor = self.monitor
        try:
            self.last_report_at = await self._reporting.submit(
                collected, monitor.project_id, monitor.version, monitor.release_id, self._observed
            )
            self._reported = seen
        except OSError as error:
            self.last_error = f"cannot keep the report: {error.strerror}"
            log.error("%s (%s)", self.last_error, monitor.project_id)

    async def _probe(self, collected: Collected) -> bool:
        """Ask for the version where it is time. False where something ended meanwhile: the answer is not waited for."""
        monitor = self.monitor
        if monitor.version_probe is None:
            return True
        identity = frozenset((process.pid, process.start_ticks) for process in collected.processes)
        changed, self._identity = identity != self._identity, identity
        if not probe_is_due(self._rounds_since_probe, processes_changed=changed):
            self._rounds_since_probe = (self._rounds_since_probe or 0) + 1
            return True
        answer = probe_version(monitor.version_probe, monitor.work_dir or "/", monitor.run_as)
        try:
            observed = await _unless(self._looking.noticed, answer)
        except CannotAsk as error:
            self._observed, self._rounds_since_probe = None, None
            self.last_error = f"cannot ask for the version: {error}"
            return True
        self._rounds_since_probe = 1 if observed is not None else None
        self._observed = observed if observed is not None else self._observed
        return observed is not None


async def _unless(event: asyncio.Event, work: Awaitable[T]) -> T | None:
    """What `work` returns or raises; None, and the work is cancelled, where the event comes first."""
    working, waiting = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        waiting.cancel()
        if not working.done():
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError, CannotAsk):
                await working
