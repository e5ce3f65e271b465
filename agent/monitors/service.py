"""All monitors of this agent: put, deleted, and watched while the agent runs."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agent.errors import Refused
from agent.monitors.reporting import Reporting
from agent.monitors.store import MonitorStore
from agent.monitors.watching import Watch
from agent.releases.installed import Succeeded
from agent.wire.executions import Execution
from agent.wire.monitors import Monitor, PutMonitor

log = logging.getLogger("agent.monitors")

MAX_MONITORS = 500


class Monitors:
    """Belongs to one event loop. Without a release API monitors are kept, but nothing is collected."""

    def __init__(self, store: MonitorStore, reporting: Reporting) -> None:
        self._store = store
        self._reporting = reporting
        self._watches: dict[str, Watch] = {
            monitor.project_id: Watch(monitor, reporting) for monitor in store.load()
        }
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changing = asyncio.Lock()

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Watch and deliver while inside."""
        self._loop = asyncio.get_running_loop()
        delivering = asyncio.create_task(self._reporting.delivery.run()) if self._reporting.delivery else None
        for project_id in self._watches:
            self._begin(project_id)
        try:
            yield
        finally:
            self._loop = None
            tasks = [*self._tasks.values(), *([delivering] if delivering else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._reporting.delivery:
                await self._reporting.delivery.aclose()

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
            self._watches[project_id] = Watch(monitor, self._reporting)
            self._begin(project_id)
        return self.get(project_id)

    async def delete(self, project_id: str) -> None:
        """Watch a project no longer; raises Refused (404)."""
        async with self._changing:
            self._find(project_id)
            await asyncio.to_thread(self._store.delete, project_id)
            self._end(project_id)
            self._watches.pop(project_id, None)

    def on_success(self, done: Succeeded, _execution: Execution) -> None:
        """An uninstall deletes the monitor. Called from any thread; the file is gone when this returns."""
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

    def _begin(self, project_id: str) -> None:
        if self._loop is not None and self._reporting.delivery is not None:
            self._tasks[project_id] = asyncio.create_task(self._watches[project_id].run())

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
        delivery = self._reporting.delivery
        error = watch.last_error or (delivery.last_error if delivery else "no release API is configured")
        return watch.monitor.model_copy(
            update={
                "last_report_at": watch.last_report_at,
                "last_error": error,
                "spooled": self._reporting.spool.count(watch.monitor.project_id),
            }
        )


_KEPT = ("version", "release_id", "process_config", "version_probe", "work_dir", "run_as")
