"""Scripts: carried out by a detached wrapper, which writes how they ended itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from agent.executions.ending import end_processes, started_by
from agent.executions.entry import Entry
from agent.executions.files import files_of
from agent.executions.methods import check_host_can, detach_method_of, prepare_work_dir
from agent.executions.outcome import outcome
from agent.executions.paths import ExecutionPaths
from agent.executions.record import Command, Record
from agent.executions.resume import give_up, running_wrapper
from agent.executions.spawn import Wrapper, spawn
from agent.executions.tree import Started, boot_id
from agent.executions.watching import wait_for_exit
from agent.settings import AgentSettings
from agent.wire.executions import ExecuteRequest


@dataclass(frozen=True, slots=True)
class FollowedWrapper:
    """A wrapper that runs."""

    wrapper: Wrapper

    async def wait(self) -> None:
        """Return when it has ended."""
        await wait_for_exit(self.wrapper.started.pid, self.wrapper.child)


class ScriptWay:
    """See `Way`."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings

    def accept(self, request: Command, boot_id: str, now: datetime) -> Record:
        """The record; refuses (422, 507) what could not run here."""
        assert isinstance(request, ExecuteRequest)
        method = detach_method_of(request) if request.detach_process else None
        if method is None and request.detach_method is not None:
            detach_method_of(request)
        check_host_can(request, self._settings.state_dir, self._settings.min_free_bytes)
        return Record.of(request, method, boot_id, now)

    def files(self, request: Command, record: Record, paths: ExecutionPaths) -> Mapping[str, bytes]:
        """`script`, `env` and `plan`; makes the work directory."""
        assert isinstance(request, ExecuteRequest)
        files = files_of(request, record, paths, self._settings)
        prepare_work_dir(request)
        return files

    async def begin(self, record: Record, paths: ExecutionPaths) -> FollowedWrapper | None:
        """Spawn the wrapper; one that could not be is kept from beginning late."""
        wrapper = await spawn(record, paths)
        if wrapper is None:
            give_up(paths)
        return None if wrapper is None else FollowedWrapper(wrapper)

    async def resume(self, record: Record, paths: ExecutionPaths) -> FollowedWrapper | None:  # noqa: ARG002 (a Way's)
        """The wrapper, where it still runs."""
        wrapper = await running_wrapper(paths, boot_id())
        return None if wrapper is None else FollowedWrapper(wrapper)

    async def end(self, entry: Entry) -> None:
        """SIGTERM to all that it started, SIGKILL to what is left."""
        await end_processes(entry.record.execution_id, entry.paths, entry.exited)

    def judge(self, record: Record, paths: ExecutionPaths, boot_id: str, now: datetime) -> Record:
        """From what the wrapper wrote, and what still runs of it."""
        left = Started(frozenset(), ())
        if paths.read_ended_by() is not None:
            left = started_by(record.execution_id, paths)
        return outcome(record, paths, left, boot_id=boot_id, now=now)
