"""What this agent's executions installed: one small file per project, written when a script has succeeded."""

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from agent.disk import write_durably
from agent.wire.executions import Execution

log = logging.getLogger("agent.releases")


class Succeeded(Protocol):
    """What there is to know of an execution that succeeded."""

    @property
    def project_id(self) -> str: ...
    @property
    def operation(self) -> str: ...
    @property
    def version(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Installation:
    """`version` None: it was uninstalled. Times are aware UTC."""

    version: str | None
    installed_at: datetime | None
    last_updated_at: datetime


def next_installation(
    before: Installation | None, operation: str, version: str, at: datetime
) -> Installation:
    """What is installed after `operation` succeeded: an update keeps the time of the first installation."""
    if operation == "uninstall":
        return Installation(None, None, at)
    first = before.installed_at if before and before.version and operation != "install" else None
    return Installation(version, first or at, at)


class Installations:
    """The files below `state_dir`. A project's id is an opaque id of the wire, so it can be a file's name."""

    def __init__(self, state_dir: Path) -> None:
        """Make the directory (0700); raises OSError."""
        self._folder = state_dir / "installed"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def get(self, project_id: str) -> Installation | None:
        """What is recorded, or None; a file that can't be read counts as no record and is logged."""
        try:
            stored = json.loads(self._path(project_id).read_bytes())
            return Installation(
                stored["version"],
                _time(stored["installed_at"]),
                datetime.fromisoformat(stored["last_updated_at"]),
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("cannot read what is installed of %s: %s", project_id, error)
            return None

    def record(self, done: Succeeded, execution: Execution) -> None:
        """Called when an execution succeeded, again after a crash; a full disk is logged: the execution stands."""
        try:
            self._record(done, execution.finished_at or datetime.now(UTC))
        except OSError as error:
            log.error("cannot record what is installed of %s: %s", done.project_id, error)

    def _record(self, done: Succeeded, at: datetime) -> None:
        now = next_installation(self.get(done.project_id), done.operation, done.version, at)
        stored = {
            "version": now.version,
            "installed_at": now.installed_at.isoformat() if now.installed_at else None,
            "last_updated_at": now.last_updated_at.isoformat(),
        }
        write_durably(self._path(done.project_id), json.dumps(stored).encode())

    def _path(self, project_id: str) -> Path:
        return self._folder / f"{project_id}.json"


def _time(stored: str | None) -> datetime | None:
    return datetime.fromisoformat(stored) if stored else None
