"""All monitors of this agent: put, deleted, and watched while the agent runs."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Protocol

from agent.errors import Refused
from agent.monitors.reporting import Reporting
from agent.monitors.spool import CONTAINERS, PODS
from agent.monitors.store import MonitorStore
from agent.monitors.watching import Watch
from agent.processes.exits import Room
from agent.releases.installed import Succeeded
from agent.wire.executions import Execution
from agent.wire.monitors import Monitor, PutMonitor
from agent.wire.pods import PodCollectRequest

log = logging.getLogger("agent.monitors")

MAX_MONITORS = 500
START_SPREAD_S = 3.0
"""After a start the first reports leave within so many seconds: a fleet that restarts together is no flood."""


class HostReports(Protocol):
    """What reports the whole host, once for all the monitors that ask for it."""

    last_report_at: datetime | None
    last_error: str | None

    def want(self, interval_s: float | None) -> None:
        """Report at once and then at this interval; None: no longer."""
        ...

    async def stop(self) -> None:
        """Report no longer, and wait for the end of what is being done."""
        ...


class SelectionReports(Protocol):
    """What reports selections of pods, each once for all the monitors that ask for it."""

    def want(self, intervals: Mapping[PodCollectRequest, float]) -> None:
        """Report these at once and then at their intervals, and no others."""
        ...

    def last_report_at(self, selection: PodCollectRequest) -> datetime | None:
        """When it was reported last."""
        ...

    def last_error(self, selection: PodCollectRequest) -> str | None:
        """Why it could not be reported."""
        ...

    async def stop(self) -> None:
        """Report no longer, and wait for the end of what is being done."""
        ...


class Monitors:
    """Belongs to one event loop. Without a release API monitors are kept, but nothing is collected."""

    def __init__(
        self,
        store: MonitorStore,
        reporting: Reporting,
        containers: HostReports | None = None,
        pods: SelectionReports | None = None,
    ) -> None:
        self._store = store
        self._reporting = reporting
        self._containers = containers
        self._pods = pods
        self._room = Room()
        self._watches: dict[str, Watch] = {
            monitor.project_id: Watch(monitor, reporting, self._room) for monitor in store.load()
        }
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changing = asyncio.Lock()

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Watch and deliver while inside."""
        self._loop = asyncio.get_running_loop()
        delivery, spread_s = self._reporting.delivery, START_SPREAD_S if self._watches else 0.0
        delivering = asyncio.create_task(delivery.run(spread_s)) if delivery else None
        for project_id in self._watches:
            self._begin(project_id)
        self._watch_others()
        try:
            yield
        finally:
            self._loop = None
            tasks = [*self._tasks.values(), *([delivering] if delivering else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._containers:
                await self._containers.stop()
            if self._pods:
                await self._pods.stop()
            if delivery:
                await delivery.aclose()

    def all(self) -> list[Monitor]:
        """Every monitor, by project."""
        return [self._shown(self._watches[project_id]) for project_id in sorted(self._watches)]

    def get(self, project_id: str) -> Monitor:
        """One monitor; raises Refused (404)."""
        return self._shown(self._find(project_id))

    async def put(self, project_id: str, request: PutMonitor) -> Monitor:
        """Watch a project from now on, first at once; on disk when this returns. Raises Refused (409, 507)."""
        monitor = Monitor(project_id=project_id, **{name: getattr(request, name) for name in _KEPT})
        async with self._changing:
            if project_id not in self._watches and len(self._watches) >= MAX_MONITORS:
                raise Refused(409, "Too many monitors", f"cannot watch more than {MAX_MONITORS} projects")
            try:
                await asyncio.to_thread(self._store.put, monitor)
            except OSError as error:
                detail = f"cannot keep the monitor of {project_id}: {error.strerror}"
                raise Refused(507, "Insufficient storage", detail) from error
            self._end(project_id)
            self._watches[project_id] = Watch(monitor, self._reporting, self._room)
            self._begin(project_id)
            self._watch_others()
        return self.get(project_id)

    async def delete(self, project_id: str) -> None:
        """Watch a project no longer, and drop its process reports that wait; raises Refused (404).

        It is asked for once the project is known to be gone, and nobody goes by its reports any more: alerts of what is not
        installed end by themselves, and where the client is no target of it the reports would only be refused. They go
        even where there is no monitor: an uninstall deletes its own (`on_success`).
        """
        async with self._changing:
            there = project_id in self._watches
            if there:
                await asyncio.to_thread(self._store.delete, project_id)
                self._forget(project_id)
            await self._reporting.drop(project_id)
            if not there:
                self._find(project_id)

    def on_success(self, done: Succeeded, _execution: Execution) -> None:
        """An uninstall deletes the monitor. Called from any thread; the file is gone when this returns.

        Its reports stay: whether the project is gone is yet to be proven, and if it is not they say what is left.
        """
        if done.operation != "uninstall":
            return
        try:
            self._store.delete(done.project_id)
        except OSError as error:
            log.error("cannot delete the monitor of %s: %s", done.project_id, error)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._forget, done.project_id)
        else:
            self._watches.pop(done.project_id, None)

    def _forget(self, project_id: str) -> None:
        self._end(project_id)
        self._watches.pop(project_id, None)
        self._watch_others()

    def _begin(self, project_id: str) -> None:
        watch = self._watches[project_id]
        if self._loop is not None and self._reporting.delivery is not None and watch.has_work:
            self._tasks[project_id] = asyncio.create_task(watch.run())

    def _watch_others(self) -> None:
        """The host's containers, and the cluster's pods."""
        if self._loop is None or self._reporting.delivery is None:
            return
        monitors = [watch.monitor for watch in self._watches.values()]
        if self._containers is not None:
            intervals = [one.process_config.collect_interval for one in monitors if one.containers]
            self._containers.want(min(intervals, default=None))
        if self._pods is not None:
            wanted: dict[PodCollectRequest, float] = {}
            for one in monitors:
                if one.pods is not None:
                    interval = one.process_config.collect_interval
                    wanted[one.pods] = min(interval, wanted.get(one.pods, interval))
            self._pods.want(wanted)

    def _end(self, project_id: str) -> None:
        task = self._tasks.pop(project_id, None)
        if task is not None:
            task.cancel()

    def _find(self, project_id: str) -> Watch:
        watch = self._watches.get(project_id)
        if watch is None:
            raise Refused(404, "Not found", f"cannot find a monitor of project {project_id}")
        return watch

    def _shown(self, watch: Watch) -> Monitor:
        spool, monitor = self._reporting.spool, watch.monitor
        streams, ats, errors = [monitor.project_id], [watch.last_report_at], [watch.last_error]
        if monitor.containers and self._containers:
            streams.append(CONTAINERS)
            ats.append(self._containers.last_report_at)
            errors.append(self._containers.last_error)
        if monitor.pods is not None and self._pods:
            streams.append(PODS)
            ats.append(self._pods.last_report_at(monitor.pods))
            errors.append(self._pods.last_error(monitor.pods))
        error = next(filter(None, errors), None)
        return monitor.model_copy(
            update={
                "last_report_at": next(filter(None, ats), None),
                "last_error": error or self._undelivered(streams),
                "spooled": sum(spool.count(stream) for stream in streams),
                "dropped": sum(spool.dropped(stream) for stream in streams),
            }
        )

    def _undelivered(self, streams: Sequence[str]) -> str | None:
        delivery = self._reporting.delivery
        if delivery is None:
            return "no release API is configured"
        return delivery.why_refused(streams) or delivery.last_error


_KEPT = (
    "version",
    "release_id",
    "process_config",
    "version_probe",
    "work_dir",
    "run_as",
    "containers",
    "pods",
)
