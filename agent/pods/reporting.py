"""Selections of pods at work: each is reported every interval, once for all the monitors that ask for it."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime

from agent.errors import Refused
from agent.monitors.looking import Looking
from agent.monitors.looks import Look
from agent.pods.service import Pods
from agent.wire.pods import PodCollectRequest

log = logging.getLogger("agent.pods")


class PodReports:
    """Belongs to one event loop. A cluster that does not answer is not reported ("no pods" would be untrue)."""

    def __init__(self, pods: Pods) -> None:
        self._pods = pods
        self._watches: dict[PodCollectRequest, _Selection] = {}

    def want(self, intervals: Mapping[PodCollectRequest, float]) -> None:
        """Report each of these selections at once and then at its interval, and no other any longer."""
        for selection in [one for one in self._watches if one not in intervals]:
            self._watches.pop(selection).end()
        for selection, interval_s in intervals.items():
            there = self._watches.get(selection)
            if there is None or there.interval_s != interval_s:
                if there is not None:
                    there.end()
                self._watches[selection] = _Selection(self._pods, selection, interval_s)
            else:
                there.looking.notice()

    def last_report_at(self, selection: PodCollectRequest) -> datetime | None:
        """When it was reported last."""
        there = self._watches.get(selection)
        return there.last_report_at if there else None

    def last_error(self, selection: PodCollectRequest) -> str | None:
        """Why it could not be reported the last time; None where it could."""
        there = self._watches.get(selection)
        return there.last_error if there else None

    async def stop(self) -> None:
        """Report no longer, and wait for the end of what is being done."""
        tasks = [there.end() for there in self._watches.values()]
        self._watches.clear()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Selection:
    """One of them, from now on."""

    def __init__(self, pods: Pods, selection: PodCollectRequest, interval_s: float) -> None:
        self.interval_s = interval_s
        self.last_report_at: datetime | None = None
        self.last_error: str | None = None
        self._pods = pods
        self._selection = selection
        self.looking = Looking(interval_s, following_s=())
        self._task = asyncio.create_task(self.looking.run(self._look))

    def end(self) -> asyncio.Task[None]:
        self._task.cancel()
        return self._task

    async def _look(self, _look: Look) -> bool:
        try:
            self.last_report_at = await self._pods.submit(self._selection)
            self.last_error = None
        except Refused as refused:
            if self.last_error is None:
                log.warning("%s", refused.problem.detail)
            self.last_error = refused.problem.detail
        except Exception as error:  # a fault of ours: the next round tries again
            log.exception("cannot report the pods")
            self.last_error = f"cannot report the pods: {type(error).__name__}"
        return True
