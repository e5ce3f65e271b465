"""Executions: accepts them once, follows them to their end, also over the agent's own death."""

import asyncio
import contextlib
import errno
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from agent.endpoints import Reply
from agent.errors import Refused
from agent.executions import output
from agent.executions.ending import claim_ending
from agent.executions.entry import Entry
from agent.executions.journal import Journal
from agent.executions.methods import disk_full
from agent.executions.record import Command, Kind, Record, digest_of, kind_of
from agent.executions.scripts import ScriptWay
from agent.executions.tree import boot_id
from agent.executions.ways import Carried, Way
from agent.fences import Fences
from agent.settings import AgentSettings
from agent.wire.executions import Execution, ExecutionLog, ExecutionState

Callback = Callable[[Record, Execution], None]

BOUND_INTERVAL_S = 0.2
RETENTION_INTERVAL_S = 3600.0

log = logging.getLogger("agent.executions")


def _now() -> datetime:
    return datetime.now(UTC)


class Executions:
    """All executions of this agent. One of a project runs at a time; an id runs once."""

    def __init__(
        self,
        settings: AgentSettings,
        fences: Fences,
        clock: Callable[[], datetime] = _now,
        containers: Way | None = None,
        kubernetes: Way | None = None,
    ) -> None:
        """`containers`, `kubernetes`: how such deployments are carried out; None: there are none."""
        self._settings = settings
        self._ways: dict[Kind, Way] = {"script": ScriptWay(settings)}
        if containers is not None:
            self._ways["container"] = containers
        if kubernetes is not None:
            self._ways["kubernetes"] = kubernetes
        self._fences = fences
        self._clock = clock
        self._journal = Journal(settings.state_dir)
        self._boot_id = boot_id()
        self._entries: dict[str, Entry] = {}
        self._running: dict[str, Entry] = {}
        self._callbacks: list[Callback] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def on_success(self, callback: Callback) -> None:
        """Have `callback(record, execution)` called for each success, before it is answered to anyone.

        It may be called again for the same execution after a crash. Register before the lifespan begins.
        """
        self._callbacks.append(callback)

    def own_pids(self) -> set[int]:
        """The agent, its wrappers and the running executions' scripts: what no rule matches."""
        pids = {os.getpid()}
        for entry in self._running.values():
            started = entry.paths.read_started()
            numbers = (entry.paths.read_number("pid"), entry.paths.read_number("watchdog"))
            pids.update(pid for pid in (started.pid if started else None, *numbers) if pid is not None)
        return pids

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Pick up what the journal says was running; at the end leave what is detached to itself."""
        for record in await asyncio.to_thread(lambda: list(self._journal.load())):
            await self._resume_or_lose(record)
        self._in_background(self._bound_outputs())
        self._in_background(self._remove_old())
        try:
            yield
        finally:
            await self._end_attached()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def execute(self, request: Command) -> Reply:
        """202 with the execution; 200 with what it is now, where its id is known; refuses with 409, 422 or 507."""
        entry = self._entries.get(request.execution_id)
        if entry is not None:
            return await self._repeat(entry, request)
        first = self._running.get(request.project_id)
        if first is not None:
            detail = f"cannot start execution {request.execution_id}: another of project {request.project_id} is running"
            raise Refused(409, "Already running", f"{detail} ({first.record.execution_id})")
        entry = self._new_entry(request)
        self._entries[request.execution_id] = self._running[request.project_id] = entry
        await asyncio.shield(self._in_background(self._accept(entry, request)))
        entry.raise_refusal()
        return Reply(202, self._execution(entry))

    async def wait(self, execution_id: str, wait_s: float) -> Execution:
        """The execution when it ends, or as it is after `wait_s` seconds."""
        entry = self._entry(execution_id)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await entry.ended.wait()
        return self._execution(entry)

    async def read_log(self, execution_id: str, offset: int) -> ExecutionLog:
        """A slice of its output, from byte `offset` on."""
        entry = self._entry(execution_id)
        ended = entry.ended.is_set()
        return await asyncio.to_thread(output.read_log, entry.paths.output, offset, ended=ended)

    async def cancel(self, execution_id: str, fence: int | None) -> Execution:
        """Begin to end it; an execution that has ended stays as it is."""
        entry = self._entry(execution_id)
        self._fences.check(entry.record.project_id, fence)
        await entry.accepted.wait()
        if not entry.ended.is_set():
            self._begin_ending(entry, "cancelled")
        return self._execution(entry)

    def _entry(self, execution_id: str) -> Entry:
        entry = self._entries.get(execution_id)
        if entry is None:
            raise Refused(
                404, "Not found", f"cannot find execution {execution_id} on {self._settings.client_id}"
            )
        return entry

    def _execution(self, entry: Entry) -> Execution:
        if entry.ended.is_set():
            return entry.record.execution(output.tail(entry.paths.output))
        size = output.size_of(entry.paths.output)
        pid = entry.record.pid or entry.paths.read_number("pid")
        now = entry.record.model_copy(update={"output_bytes": size, "pid": pid})
        return now.execution(output.tail(entry.paths.output))

    async def _repeat(self, entry: Entry, request: Command) -> Reply:
        if entry.record.digest != digest_of(request):
            detail = (
                f"cannot start execution {request.execution_id}: it is known already, with another request"
            )
            raise Refused(409, "Another request", detail)
        await entry.accepted.wait()
        entry.raise_refusal()
        return Reply(200, self._execution(entry))

    def _new_entry(self, request: Command) -> Entry:
        way = self._ways[kind_of(request)]
        record = way.accept(request, self._boot_id, self._clock())
        return Entry(record, self._journal.paths(request.execution_id))

    def _way(self, entry: Entry) -> Way:
        return self._ways[entry.record.kind]

    async def _accept(self, entry: Entry, request: Command) -> None:
        try:
            await asyncio.to_thread(self._write, entry, request)
            carried = await self._way(entry).begin(entry.record, entry.paths)
        except Refused as refused:
            self._forget(entry, refused)
        except Exception as error:  # nothing runs: whoever waits for this id must hear of it
            log.exception("cannot start execution %s", entry.record.execution_id)
            reason = f"cannot start execution {entry.record.execution_id}: {type(error).__name__}"
            self._journal.discard(entry.paths)
            self._forget(entry, Refused(500, "Cannot start", reason))
        else:
            started = {"state": ExecutionState.RUNNING, "started_at": self._clock()}
            entry.record = entry.record.model_copy(update=started)
            self._in_background(self._follow(entry, carried))
            entry.accepted.set()

    def _write(self, entry: Entry, request: Command) -> None:
        files = self._way(entry).files(request, entry.record, entry.paths)
        try:
            self._journal.create(entry.record, files)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise disk_full(self._settings.state_dir) from error
            raise

    def _forget(self, entry: Entry, refusal: Refused) -> None:
        entry.refusal = refusal
        self._entries.pop(entry.record.execution_id, None)
        self._release(entry)
        entry.accepted.set()
        entry.ended.set()

    async def _follow(self, entry: Entry, carried: Carried | None) -> None:
        """From what is under way to the journalled end."""
        try:
            if carried is not None:
                await self._wait_for(entry, carried)
        except Exception:  # the execution must end
            # What its files say decides; without a status in them it is lost.
            log.exception("cannot watch execution %s", entry.record.execution_id)
        entry.exited.set()
        if entry.ending is not None:
            await asyncio.wait([entry.ending])
        await self._finish(entry)

    async def _wait_for(self, entry: Entry, carried: Carried) -> None:
        timer = self._in_background(self._time_out(entry))
        try:
            await carried.wait()
        finally:
            timer.cancel()

    async def _time_out(self, entry: Entry) -> None:
        started = entry.record.started_at or self._clock()
        passed = (self._clock() - started).total_seconds()
        await asyncio.sleep(max(0.0, entry.record.timeout_s - passed))
        self._begin_ending(entry, "timed_out")

    def _begin_ending(self, entry: Entry, reason: str) -> None:
        if entry.ending is None and not entry.exited.is_set():
            claim_ending(entry.paths, reason)
            entry.ending = self._in_background(self._way(entry).end(entry))

    async def _finish(self, entry: Entry) -> None:
        """Whatever goes wrong, the execution ends here, and its project is free again."""
        try:
            record = await self._outcome(entry)
            await asyncio.to_thread(self._keep, entry, record)
        except Exception as error:  # its project would be busy for ever
            log.exception("cannot finish execution %s", entry.record.execution_id)
            record = entry.record.lost(error, self._clock())
            await asyncio.to_thread(self._forget_secrets, record)
        self._end(entry, record)

    def _end(self, entry: Entry, record: Record) -> None:
        entry.record = record
        self._release(entry)
        entry.exited.set()
        entry.ended.set()

    async def _outcome(self, entry: Entry) -> Record:
        judge = self._way(entry).judge
        return await asyncio.to_thread(judge, entry.record, entry.paths, self._boot_id, self._clock())

    def _keep(self, entry: Entry, record: Record) -> None:
        try:
            output.bound(entry.paths.output)
        except OSError:
            log.exception("cannot bound the output of execution %s", record.execution_id)
        if record.state is ExecutionState.SUCCEEDED:
            self._tell_success(record)
        try:
            self._journal.save(record)
        except OSError as error:
            # The wrapper's files say the same at the next start.
            log.error("cannot journal the end of execution %s: %s", record.execution_id, error)
        self._forget_secrets(record)

    def _forget_secrets(self, record: Record) -> None:
        try:
            self._journal.forget_secrets(record.execution_id)
        except OSError as error:
            log.error("cannot remove the request of execution %s: %s", record.execution_id, error)

    def _tell_success(self, record: Record) -> None:
        for callback in self._callbacks:
            try:
                callback(record, record.execution())
            except Exception:  # one listener's fault is no other's
                log.exception("cannot act on the success of execution %s", record.execution_id)

    def _release(self, entry: Entry) -> None:
        if self._running.get(entry.record.project_id) is entry:
            del self._running[entry.record.project_id]

    async def _resume_or_lose(self, record: Record) -> None:
        """One record that can't be picked up doesn't keep the agent from the others."""
        entry = Entry(record, self._journal.paths(record.execution_id))
        entry.accepted.set()
        self._entries[record.execution_id] = entry
        try:
            await self._resume(entry)
        except Exception as error:  # the others are picked up
            log.exception("cannot pick up execution %s", record.execution_id)
            self._forget_secrets(record)
            self._end(entry, record.lost(error, self._clock()))

    async def _resume(self, entry: Entry) -> None:
        record = entry.record
        if record.state.ended:
            self._forget_secrets(record)  # an agent that died may not have come to it
            entry.exited.set()
            entry.ended.set()
            return
        carried = await self._way(entry).resume(record, entry.paths)
        if carried is None:
            entry.exited.set()
            await self._finish(entry)
            return
        started_at = entry.paths.time_of(entry.paths.started)
        entry.record = record.model_copy(update={"state": ExecutionState.RUNNING, "started_at": started_at})
        self._running[record.project_id] = entry
        if entry.paths.read_ended_by() is not None:
            self._begin_ending(entry, "cancelled")
        self._in_background(self._follow(entry, carried))

    async def _end_attached(self) -> None:
        running = self._running.values()
        attached = [one for one in running if one.record.kind == "script" and one.record.method is None]
        for entry in attached:
            self._begin_ending(entry, "agent_stopped")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(8):
                await asyncio.gather(*(entry.ended.wait() for entry in attached))

    async def _bound_outputs(self) -> None:
        while True:
            await asyncio.sleep(BOUND_INTERVAL_S if self._running else 1.0)
            for entry in list(self._running.values()):
                if output.size_of(entry.paths.output) > output.CAP_BYTES:
                    # The wrapper's watchdog does it too, and the end of the execution says why it can't be done.
                    with contextlib.suppress(OSError):
                        await asyncio.to_thread(output.bound, entry.paths.output)

    async def _remove_old(self) -> None:
        while True:
            ended = {
                execution_id: entry.record.finished_at
                for execution_id, entry in self._entries.items()
                if entry.ended.is_set() and entry.record.finished_at is not None
            }
            try:
                for dropped in await asyncio.to_thread(self._journal.remove_old, ended, self._clock()):
                    self._entries.pop(dropped, None)
            except OSError:
                log.exception("cannot remove old executions, will try again in an hour")
            await asyncio.sleep(RETENTION_INTERVAL_S)

    def _in_background(self, work: "asyncio._CoroutineLike[None]") -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("cannot go on with an execution: %r", error, exc_info=error)
