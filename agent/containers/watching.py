"""The host's containers at work: one report for all projects, every interval and soon after the engine tells of a change."""

import asyncio
import logging
from datetime import datetime

from agent.containers.events import EngineEvents
from agent.containers.service import Containers
from agent.errors import Refused
from agent.monitors.looking import Looking
from agent.monitors.looks import CONFIRM_S, Look

log = logging.getLogger("agent.containers")


class ContainerWatch:
    """Belongs to one event loop. An engine that does not answer is not reported ("no containers" would be untrue): `last_error` says it."""

    def __init__(self, containers: Containers, engine_host: str) -> None:
        self.last_report_at: datetime | None = None
        self.last_error: str | None = None
        self._containers = containers
        self._engine_host = engine_host
        self._interval_s: float | None = None
        self._looking: Looking | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def want(self, interval_s: float | None) -> None:
        """Report soon and then every so many seconds; None: no longer."""
        if interval_s == self._interval_s:
            if self._looking is not None:
                self._looking.notice()
            return
        self._end()
        self._interval_s = interval_s
        if interval_s is not None:
            looking = self._looking = Looking(interval_s, following_s=(CONFIRM_S,))
            events = EngineEvents(self._engine_host, looking.notice)
            self._tasks = [
                asyncio.create_task(looking.run(self._look)),
                asyncio.create_task(events.run()),
            ]

    async def stop(self) -> None:
        """Report no longer."""
        tasks = self._tasks
        self._end()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks, self._looking, self._interval_s = [], None, None
        self.last_error = None

    async def _look(self, look: Look) -> bool:
        try:
            self.last_report_at = await self._containers.submit(urgent=look.followed or not look.by_interval)
            self.last_error = None
        except Refused as refused:
            if self.last_error is None:
                log.warning("%s", refused.problem.detail)
            self.last_error = refused.problem.detail
        except Exception as error:  # the next look may work; the monitor lives on
            log.exception("cannot report the containers")
            self.last_error = f"cannot report the containers: {type(error).__name__}"
        return False
