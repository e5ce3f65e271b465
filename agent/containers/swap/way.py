"""Container deployments as executions: journalled like a script's, carried out by a thread of the agent's own.

The thread writes how it went to the same files as a script's wrapper, and its progress before each step. An agent that
dies leaves it where it is; the next one goes on from there, over a reboot too.
"""

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from agent.containers.engine import Engine
from agent.containers.errors import EngineUnavailable
from agent.containers.swap.dock import Dock
from agent.containers.swap.errors import SwapAbandoned, SwapEnded, SwapFailed
from agent.containers.swap.notes import Notes
from agent.containers.swap.putting_back import PuttingBack
from agent.containers.swap.story import Swap
from agent.containers.threads import DaemonThreads
from agent.disk import write_durably
from agent.executions.entry import Entry
from agent.executions.methods import check_room
from agent.executions.output import size_of
from agent.executions.paths import ExecutionPaths
from agent.executions.record import Command, Record
from agent.executions.tree import boot_id
from agent.settings import AgentSettings
from agent.wire.containers import ContainerDeployRequest
from agent.wire.executions import DeployedContainer, ExecutionState

SUCCEEDED, FAILED = 0, 1
PING_WITHIN_S = 5.0
"""A slow engine must not hold up the agent's end: a process ends within 10 s of SIGTERM."""
_ENDED = {"timed_out": ExecutionState.TIMED_OUT}

log = logging.getLogger("agent.containers")


@dataclass(frozen=True, slots=True)
class SwapThread:
    """A swap that is under way. `ending` has it put back what it can, and end."""

    ending: threading.Event
    ended: asyncio.Event

    async def wait(self) -> None:
        """Return when it is over."""
        await self.ended.wait()


class ContainerWay:
    """See `Way` in agent/executions/ways.py."""

    def __init__(self, settings: AgentSettings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._running: dict[str, SwapThread] = {}
        self._abandoned = threading.Event()

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """When the agent stops, threads leave their swaps where they are, for its next start."""
        self._abandoned.clear()
        try:
            yield
        finally:
            self._abandoned.set()

    def accept(self, request: Command, boot_id: str, now: datetime) -> Record:
        """The record. Raises Refused (507) where the disk is full."""
        check_room(self._settings.state_dir, self._settings.min_free_bytes)
        return Record.of(request, None, boot_id, now)

    def files(self, request: Command, record: Record, paths: ExecutionPaths) -> Mapping[str, bytes]:  # noqa: ARG002 (a Way's)
        """The request itself, to go on from. Raises EngineUnavailable: then nothing is journalled."""
        threads = DaemonThreads(1, "engine-ping")
        try:
            threads.submit(self._ping).result(PING_WITHIN_S)
        except TimeoutError:
            raise EngineUnavailable("it does not answer in time") from None
        finally:
            threads.shutdown()
        return {"request.json": request.model_dump_json().encode()}

    def _ping(self) -> None:
        with self._engine.api() as api:
            api.ping()

    async def begin(self, record: Record, paths: ExecutionPaths) -> SwapThread | None:
        """Start the thread. Raises OSError."""
        return self._start(record, paths)

    async def resume(self, record: Record, paths: ExecutionPaths) -> SwapThread | None:
        """Go on where the last agent stopped; None where it was through already."""
        return None if paths.read_status() is not None else self._start(record, paths)

    async def end(self, entry: Entry) -> None:
        """Have it put back what it can."""
        running = self._running.get(entry.record.execution_id)
        if running is not None:
            running.ending.set()

    def judge(self, record: Record, paths: ExecutionPaths, boot_id: str, now: datetime) -> Record:  # noqa: ARG002 (a Way's)
        """The record as it ends. A swap that took over in spite of a late cancel has succeeded."""
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
                "container": _deployed_of(paths),
            }
        )

    def _start(self, record: Record, paths: ExecutionPaths) -> SwapThread:
        _mark_started(paths)
        loop = asyncio.get_running_loop()
        under_way = SwapThread(threading.Event(), asyncio.Event())
        self._running[record.execution_id] = under_way

        def carry_out() -> None:
            over = self._carry_out(record, paths, under_way.ending)
            if over:
                loop.call_soon_threadsafe(self._over, record.execution_id)

        threading.Thread(target=carry_out, name=f"swap-{record.execution_id}", daemon=True).start()
        return under_way

    def _over(self, execution_id: str) -> None:
        self._running.pop(execution_id).ended.set()

    def _carry_out(self, record: Record, paths: ExecutionPaths, ending: threading.Event) -> bool:
        """False where the agent stops meanwhile, and it goes on later."""
        try:
            request = ContainerDeployRequest.model_validate_json(paths.request.read_bytes())
            notes = Notes(paths.swap, paths.output, ending, self._abandoned, paths.read_ended_by)
            dock = Dock(self._engine, request.project_id, self._settings.client_id)
            swap = Swap(request, dock, notes, record.accepted_at)
            back = PuttingBack(request, dock, notes, record.accepted_at)
            code, why = _outcome(swap, back, request, notes, paths)
        except SwapAbandoned:
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


def _outcome(
    swap: Swap, back: PuttingBack, request: ContainerDeployRequest, notes: Notes, paths: ExecutionPaths
) -> tuple[int, str | None]:
    """Exit status and why it failed. Raises SwapAbandoned."""
    if notes.now.phase == "revert":
        return _put_back(back, notes, notes.now.why or "it failed")
    try:
        if request.operation == "uninstall":
            swap.remove_all()
            return SUCCEEDED, None
        deployed = swap.put_in_place()
        write_durably(paths.deployed, deployed.model_dump_json().encode())
    except SwapAbandoned:
        raise
    except Exception as error:  # whatever it is, the previous one is put back
        if not isinstance(error, (SwapFailed, SwapEnded, EngineUnavailable)):
            log.exception("execution %s failed at something unexpected", request.execution_id)
        why = _said(error, request)
        if notes.now.committed:
            return FAILED, f"{notes.now.name} serves, but {why}"
        if request.operation == "uninstall":
            notes.tell(why)
            return FAILED, why
        return _put_back(back, notes, why)
    return SUCCEEDED, None


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


def _put_back(back: PuttingBack, notes: Notes, why: str) -> tuple[int, str]:
    try:
        said = back.put_back(why)
    except (SwapFailed, EngineUnavailable) as error:
        said = str(error)
    notes.tell(said)
    return FAILED, said


def _said(error: Exception, request: ContainerDeployRequest) -> str:
    if isinstance(error, (SwapFailed, EngineUnavailable)):
        return str(error)
    if not isinstance(error, SwapEnded):
        return f"the agent failed at it: {type(error).__name__}: {error}"[:1000]
    if str(error) == "timed_out":
        return f"it was not done after {request.timeout_s} s"
    return "it was cancelled"


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


def _deployed_of(paths: ExecutionPaths) -> DeployedContainer | None:
    try:
        return DeployedContainer.model_validate_json(paths.deployed.read_bytes())
    except (OSError, ValueError):
        return None


def _mark_started(paths: ExecutionPaths) -> None:
    """Its modification time is when it began: an earlier agent's stands."""
    try:
        descriptor = os.open(paths.started, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{os.getpid()} 0 {boot_id()} .\n")
