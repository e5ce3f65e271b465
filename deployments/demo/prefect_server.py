"""A Prefect server of its own: SQLite, telemetry off, its recorder batched as docs/explanation/decisions.md says."""

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
    """Its state is in `root`/prefect; stop() and start() again keep port and state."""

    def __init__(self, root: Path) -> None:
        self.port = free_port()
        self.ui_url = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.ui_url}/api"
        env = base_environment(root, root / "home") | BATCHING
        env |= {
            "PREFECT_HOME": str(root / "prefect"),
            "PREFECT_API_URL": self.url,
            "PREFECT_UI_API_URL": self.url,
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
        self.process.start()
        return self

    def wait_until_up(self, timeout_s: float = 120) -> None:
        """Wait until it answers."""
        wait_until("Prefect server", self._answers, self.process, timeout_s)

    def stop(self) -> None:
        """Stop it."""
        self.process.stop()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=5).is_success
        except httpx.TransportError:
            return False
