"""The monitors on disk: one file each, so that they go on after a restart or a reboot."""

import logging
from pathlib import Path

from agent.disk import sync_directory, write_durably
from agent.wire.monitors import Monitor

log = logging.getLogger("agent.monitors")
_NOT_KEPT = {"last_report_at", "last_error", "spooled", "dropped"}


class MonitorStore:
    """A directory below the state directory. A project's id is an opaque id of the wire: it can be a file's name."""

    def __init__(self, state_dir: Path) -> None:
        """Make the directory (0700); raises OSError."""
        self._folder = state_dir / "monitors"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def load(self) -> list[Monitor]:
        """Every monitor that was put and not deleted; one that can't be read is logged and left alone."""
        monitors = []
        for path in sorted(self._folder.glob("[!.]*.json")):
            try:
                monitors.append(Monitor.model_validate_json(path.read_bytes()))
            except (OSError, ValueError) as error:
                log.error("cannot read the monitor %s: %s", path.name, type(error).__name__)
        return monitors

    def put(self, monitor: Monitor) -> None:
        """Keep it; on disk when this returns. Raises OSError."""
        write_durably(self._path(monitor.project_id), monitor.model_dump_json(exclude=_NOT_KEPT).encode())

    def delete(self, project_id: str) -> None:
        """Forget it; gone from disk when this returns."""
        self._path(project_id).unlink(missing_ok=True)
        sync_directory(self._folder)

    def _path(self, project_id: str) -> Path:
        return self._folder / f"{project_id}.json"
