"""The journal: an execution is on disk before anything is spawned, and its id is known for 90 days."""

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from agent.disk import sync_directory, write_durably
from agent.errors import Refused
from agent.executions.methods import other_user
from agent.executions.paths import STATUS_PLACEHOLDER, ExecutionPaths
from agent.executions.record import Record
from agent.executions.resume import give_up

KEEP_IDS = timedelta(days=90)
KEEP_LOGS = timedelta(days=14)
KEEP_LOG_BYTES = 500 * 1000 * 1000

log = logging.getLogger("agent.executions")


class Journal:
    """One directory per execution below `<state directory>/executions`."""

    def __init__(self, state_dir: Path) -> None:
        self.directory = state_dir / "executions"
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def paths(self, execution_id: str) -> ExecutionPaths:
        """Where an execution's files are; an id can't leave the directory (see OpaqueId)."""
        return ExecutionPaths(self.directory / execution_id)

    def create(self, record: Record, files: Mapping[str, bytes]) -> ExecutionPaths:
        """Write the execution's `files` (script, env, plan) and then its record, fsynced. Raises OSError."""
        paths = self.paths(record.execution_id)
        try:
            paths.directory.mkdir(mode=0o700)
        except FileExistsError as error:
            detail = f"cannot start execution {record.execution_id}: its journal entry can't be read, it may have run"
            raise Refused(409, "Unreadable", detail) from error
        try:
            owner = other_user(record.run_as)
            for name, content in {**files, "output": b"", "status": STATUS_PLACEHOLDER}.items():
                # What was spawned ends with its host; what the agent carries out itself goes on over a power cut.
                _write_private(paths.directory / name, content, durable=record.kind != "script")
                if owner is not None and name in ("script", "output"):
                    os.chown(paths.directory / name, owner.pw_uid, owner.pw_gid)
            write_durably(paths.record, record.model_dump_json().encode())
            sync_directory(self.directory)
        except OSError:
            shutil.rmtree(paths.directory, ignore_errors=True)
            raise
        return paths

    def save(self, record: Record) -> None:
        """Replace the record in one step."""
        write_durably(self.paths(record.execution_id).record, record.model_dump_json().encode())

    def discard(self, paths: ExecutionPaths) -> None:
        """Remove an execution that certainly never ran."""
        with contextlib.suppress(OSError):
            give_up(paths)
        if paths.given_up:
            shutil.rmtree(paths.directory, ignore_errors=True)

    def forget_secrets(self, execution_id: str) -> None:
        """Remove the script and its environment, or the container's request: they have served."""
        paths = self.paths(execution_id)
        for path in (paths.script, paths.env, paths.request):
            path.unlink(missing_ok=True)

    def load(self) -> Iterator[Record]:
        """Every record; what was interrupted before it had one never ran and is removed, what is corrupt set aside."""
        for directory in sorted(self.directory.iterdir()):
            paths = ExecutionPaths(directory)
            try:
                record = self._read(paths)
            except OSError as error:
                log.error("cannot read the journal's entry %s: %s", directory.name, error)
            else:
                if record is not None:
                    yield record

    def _read(self, paths: ExecutionPaths) -> Record | None:
        name = paths.directory.name
        try:
            record = Record.model_validate_json(paths.record.read_bytes())
            if record.execution_id == name:
                return record
            cause = "it is another execution's"
        except FileNotFoundError:
            if not paths.set_aside.exists():
                shutil.rmtree(paths.directory, ignore_errors=True)
            return None
        except ValidationError as error:
            cause = "; ".join(f"{'.'.join(map(str, one['loc']))} {one['msg']}" for one in error.errors()[:5])
        log.error(
            "cannot use the journal's entry %s, which is set aside as %s: %s", name, paths.set_aside, cause
        )
        paths.record.replace(paths.set_aside)
        return None

    def remove_old(self, ended: Mapping[str, datetime], now: datetime) -> set[str]:
        """Drop logs after 14 days or beyond 500 MB, oldest first, and ids after 90 days; the ids that were dropped.

        `ended` has the executions that have ended, with the time.
        """
        dropped, room = set[str](), KEEP_LOG_BYTES
        for execution_id, at in sorted(ended.items(), key=lambda item: item[1], reverse=True):
            paths = self.paths(execution_id)
            if now - at > KEEP_IDS:
                shutil.rmtree(paths.directory, ignore_errors=True)
                dropped.add(execution_id)
                continue
            room -= _bytes_on_disk(paths.output)
            if room < 0 or now - at > KEEP_LOGS:
                paths.output.unlink(missing_ok=True)
        return dropped


def _write_private(path: Path, content: bytes, *, durable: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        if durable:
            file.flush()
            os.fsync(file.fileno())


def _bytes_on_disk(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512
    except OSError:
        return 0
