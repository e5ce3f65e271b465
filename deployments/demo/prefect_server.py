"""A Prefect server of its own: SQLite, telemetry off, its recorder batched as docs/explanation/decisions.md says."""

import contextlib
import importlib.metadata
import shutil
import sqlite3
import sys
from pathlib import Path

import httpx

from deployments.demo.environment import CODE, base_environment, free_port
from deployments.demo.processes import Process, wait_until

BATCHING = {
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "50",
}


class PrefectServer:
    """Its state is in `root`/prefect; stop() and start() again keep port and state. `cache` outlives `root`'s state."""

    def __init__(self, root: Path, cache: Path | None = None) -> None:
        self._database = root / "prefect" / "prefect.db"
        self._empty = cache / f"prefect-{importlib.metadata.version('prefect')}.db" if cache else None
        self.port = free_port()
        self.ui_url = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.ui_url}/api"
        env = base_environment(root, root / "home") | BATCHING
        env |= {
            "PREFECT_HOME": str(root / "prefect"),
            "PREFECT_API_URL": self.url,
            "PREFECT_UI_API_URL": self.url,
            "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,orphans",
        }
        argv = [
            sys.executable,
            "-m",
            "prefect",
            "server",
            "start",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
        ]
        self.process = Process("prefect-server", argv, env, CODE, root / "logs" / "prefect-server.log")

    def start(self) -> "PrefectServer":
        """Start it; wait_until_up() says when it answers."""
        self._database.parent.mkdir(parents=True, exist_ok=True)
        if self._empty is not None and self._empty.exists() and not self._database.exists():
            shutil.copyfile(self._empty, self._database)
        self.process.start()
        return self

    def wait_until_up(self, timeout_s: float = 120) -> None:
        """Wait until it answers."""
        wait_until("Prefect server", self._answers, self.process, timeout_s)
        if self._empty is not None and not self._empty.exists():
            self._keep_empty(self._empty)

    def _keep_empty(self, path: Path) -> None:
        """Keep the database as it is now, migrated and empty: migrating a new one takes 5 s."""
        path.parent.mkdir(parents=True, exist_ok=True)
        half_made = path.with_suffix(".new")
        half_made.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(self._database)) as live:
            with contextlib.closing(sqlite3.connect(half_made)) as copy:
                live.backup(copy)
        half_made.rename(path)

    def stop(self) -> None:
        """Stop it."""
        self.process.stop()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=5).is_success
        except httpx.TransportError:
            return False
