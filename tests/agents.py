"""Real agents for tests: each with a state directory and a port of its own, and everything it started ended with it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.real_processes import wait_until

ROOT = Path(__file__).parent.parent
TOKEN = "agent-token-for-tests"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def command_for(folder: Path, execution_id: str, script: str, **fields: Any) -> dict[str, Any]:
    """A `release.execute` with everything that it needs."""
    return {
        "execution_id": execution_id,
        "release_id": "release-1",
        "project_id": "shop",
        "target_id": "target-1",
        "operation": "update",
        "version": "2.0",
        "script": script,
        "work_dir": str(folder / "work"),
        **fields,
    }


class AgentProcess:
    """`python -m agent`, which can be killed and started again in the same state directory."""

    command = (sys.executable, "-m", "agent")

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.state_dir = folder / "state"
        self.port = free_port()
        self.process: Any = None  # a Popen once started
        self._settings = settings
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=90,
            trust_env=False,
        )

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        own = {
            "PYTHONPATH": str(ROOT),
            "HOIST_AGENT_PORT": str(self.port),
            "HOIST_AGENT_STATE_DIR": str(self.state_dir),
            "HOIST_AGENT_CLIENT_ID": "web-1",
            "HOIST_AGENT_TOKEN": TOKEN,
        }
        return {**kept, **own, **self._settings}

    def start(self) -> "AgentProcess":
        """Start it, again where somebody's outgoing connection has the port for a moment."""
        wait_until(self._begin)
        return self

    def _begin(self) -> bool:
        log = self.folder / "agent.log"
        with log.open("ab") as file:
            before = file.tell()
            self.process = subprocess.Popen(
                self.command,
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        wait_until(lambda: self.process.poll() is not None or self._answers())
        taken = b"address already in use" in log.read_bytes()[before:]
        assert self.process.poll() is None or taken, log.read_text()
        return not taken

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)

    def execute(self, execution_id: str, script: str, **fields: Any) -> dict[str, Any]:
        response = self.post(
            "/v1/commands/release.execute", command_for(self.folder, execution_id, script, **fields)
        )
        assert response.status_code in (200, 202), response.text
        return response.json()

    def post(self, path: str, body: Any) -> httpx.Response:
        return self.http.post(path, json=body)

    def get(self, path: str, **query: Any) -> Any:
        response = self.http.get(path, params=query)
        assert response.status_code == 200, response.text
        return response.json()

    def end_of(self, execution_id: str) -> dict[str, Any]:
        """The execution, once it has ended."""

        def ended() -> dict[str, Any] | None:
            found = self.get(f"/v1/executions/{execution_id}", wait_s=20)
            return None if found["state"] in ("queued", "running") else found

        return wait_until(ended)

    def run(self, execution_id: str, script: str, **fields: Any) -> dict[str, Any]:
        """Execute, and wait for the end."""
        self.execute(execution_id, script, **fields)
        return self.end_of(execution_id)

    def close(self) -> None:
        self.http.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        wait_until(lambda: not self._kill_started())

    def _answers(self) -> bool:
        try:
            return self.http.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def _kill_started(self) -> list[int]:
        """Kill whatever has this agent's state directory in its environment or command line; who it was."""
        found = processes_mentioning(str(self.state_dir))
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return found


def processes_mentioning(text: str) -> list[int]:
    """Whose environment or command line has `text`: the scripts, applications and wrappers of one agent."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            content = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            if text.encode() in content and "State:\tZ" not in (entry / "status").read_text():
                found.append(int(entry.name))
    return found


def start_ticks(pid: int) -> int:
    """With the pid, who a process is (proc(5), field 22)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def is_running(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[AgentProcess]:
    """An agent that runs."""
    process = AgentProcess(tmp_path)
    try:
        yield process.start()
    finally:
        process.close()
