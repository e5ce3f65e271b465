"""Executions that the agent carries out itself, in a thread for each: journalled like a script's, resumed like one.

The thread writes how it went to the same files as a script's wrapper, and its progress before each step. An agent that
dies leaves it where it is; the next one goes on from there, over a reboot too.
"""

import asyncio
import logging
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent.disk import write_durably
from agent.executions.entry import Entry
from agent.executions.methods import check_room
from agent.executions.output import size_of
from agent.executions.paths import ExecutionPaths
from agent.executions.record import Command, Record
from agent.executions.steps import Abandoned, Signals
from agent.executions.tree import boot_id
from agent.settings import AgentSettings
from agent.wire.executions import ExecutionState

SUCCEEDED, FAILED = 0, 1
_ENDED = {"timed_out": ExecutionState.TIMED_OUT}

log = logging.getLogger("agent.executions")


@dataclass(frozen=True, slots=True)
class CarriedThread:
    """One that is under way. `ending` has it put back what it can, and end."""

    ending: threading.Event
    ended: asyncio.Event

    async def wait(self) -> None:
        """Return when it is over."""
        await self.ended.wait()


class ThreadWay(ABC):
    """See `Way` in agent/executions/ways.py; a kind of execution says what its thread does."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._running: dict[str, CarriedThread] = {}
        self._abandoned = threading.Event()

    @abstractmethod
    def carry_out(self, record: Record, paths: ExecutionPaths, signals: Signals) -> tuple[int, str | None]:
        """All of it, in its thread: SUCCEEDED or FAILED, and why it failed. Raises Abandoned where the agent stops."""

    @abstractmethod
    def files(self, request: Command, record: Record, paths: ExecutionPaths) -> Mapping[str, bytes]:
        """What is to be on disk before it begins, 0600. May block; raises Refused and OSError."""

    @abstractmethod
    def result_of(self, paths: ExecutionPaths) -> dict[str, Any]:
        """What it came to, as fields of the record."""

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """When the agent stops, threads leave their work where it is, for its next start."""
        self._abandoned.clear()
        try:
            yield
        finally:
            self._abandoned.set()

    def accept(self, request: Command, boot_id: str, now: datetime) -> Record:
        """The record. Raises Refused (507) where the disk is full."""
        check_room(self._settings.state_dir, self._settings.min_free_bytes)
        return Record.of(request, None, boot_id, now)

    async def begin(self, record: Record, paths: ExecutionPaths) -> CarriedThread | None:
        """Start the thread. Raises OSError."""
        return self._start(record, paths)

    async def resume(self, record: Record, paths: ExecutionPaths) -> CarriedThread | None:
        """Go on where the last agent stopped; None where it was through already."""
        return None if paths.read_status() is not None else self._start(record, paths)

    async def end(self, entry: Entry) -> None:
        """Have it put back what it can."""
        running = self._running.get(entry.record.execution_id)
        if running is not None:
            running.ending.set()

    def judge(self, record: Record, paths: ExecutionPaths, boot_id: str, now: datetime) -> Record:  # noqa: ARG002 (a Way's)
        """The record as it ends. What took over in spite of a late cancel has succeeded."""
        code = paths.read_status()
        finished = paths.time_of(paths.status) if code is not None else None
        return record.model_copy(
            update={
                "state": _state_of(code, paths.read_ended_by()),
                "exit_code": code,
                "started_at": paths.time_of(paths.started) or record.started_at,
                "finished_at": finished or now,
                "output_bytes": size_of(paths.output),
                "error": None if code == SUCCEEDED else _text_of(paths),
                **self.result_of(paths),
            }
        )

    def _start(self, record: Record, paths: ExecutionPaths) -> CarriedThread:
        _mark_started(paths)
        loop = asyncio.get_running_loop()
        under_way = CarriedThread(threading.Event(), asyncio.Event())
        self._running[record.execution_id] = under_way

        def carry_out() -> None:
            over = self._carry_out(record, paths, under_way.ending)
            if over:
                loop.call_soon_threadsafe(self._over, record.execution_id)

        threading.Thread(target=carry_out, name=f"{record.kind}-{record.execution_id}", daemon=True).start()
        return under_way

    def _over(self, execution_id: str) -> None:
        self._running.pop(execution_id).ended.set()

    def _carry_out(self, record: Record, paths: ExecutionPaths, ending: threading.Event) -> bool:
        """False where the agent stops meanwhile, and it goes on later."""
        try:
            signals = Signals(ending, self._abandoned, paths.read_ended_by)
            code, why = self.carry_out(record, paths, signals)
        except Abandoned:
            return False
        except Exception as error:  # a fault of ours: the execution ends all the same, and says so
            log.exception("cannot go on with execution %s", record.execution_id)
            code, why = FAILED, f"the agent failed at it: {type(error).__name__}: {error}"[:1000]
        try:
            if why is not None:
                write_durably(paths.failure, why.encode())
        except OSError as error:
            log.error("cannot write why execution %s failed: %s", record.execution_id, error)
        try:
            _write_status(paths, code)
        except OSError as error:
            log.error("cannot write how execution %s ended: %s", record.execution_id, error)
        return True


def _write_status(paths: ExecutionPaths, code: int) -> None:
    """In place of the placeholder, which needs no room on a full disk."""
    content = f"{code:<14}.\n".encode()
    try:
        with paths.status.open("r+b") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        write_durably(paths.status, content)


def _state_of(code: int | None, ended_by: str | None) -> ExecutionState:
    if code == SUCCEEDED:
        return ExecutionState.SUCCEEDED
    if code is None:
        return ExecutionState.LOST
    if ended_by is None:
        return ExecutionState.FAILED
    return _ENDED.get(ended_by, ExecutionState.CANCELLED)


def _text_of(paths: ExecutionPaths) -> str:
    try:
        return paths.failure.read_text(errors="replace")[:2000]
    except OSError:
        return "nobody knows how it ended: its files can't be read"


def _mark_started(paths: ExecutionPaths) -> None:
    """Its modification time is when it began: an earlier agent's stands."""
    try:
        descriptor = os.open(paths.started, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{os.getpid()} 0 {boot_id()} .\n")
