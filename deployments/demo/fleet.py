"""The fleet: release API, worker and agents as processes, on free ports of loopback, with all their state in one directory."""

import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx

from deployments.demo.environment import CODE, base_environment, free_port
from deployments.demo.errors import DemoError
from deployments.demo.prefect_server import PrefectServer
from deployments.demo.processes import Process, kill_all, marked_pids, wait_until
from deployments.demo.release_api import ReleaseApi

WORK_POOL = "hoist"
UPGRADE = "upgrade/fleet"
DEPLOY = ("-m", "prefect", "--no-prompt", "deploy")


class Agent:
    """One managed host: a HOME, a state directory and a port of its own. `environ`: more of its settings."""

    def __init__(self, root: Path, client_id: str) -> None:
        self.root, self.client_id = root, client_id
        self.home = root / "clients" / client_id / "home"
        self.state_dir = root / "clients" / client_id / "state"
        self.port = free_port()
        self.token = secrets.token_urlsafe(32)
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: Process | None = None
        self.environ: dict[str, str] = {}

    def start(self, api_url: str, report_token: str) -> None:
        """Start the agent; it reports to `api_url` as itself."""
        env = base_environment(self.root, self.home)
        env |= {
            "HOIST_AGENT_PORT": str(self.port),
            "HOIST_AGENT_CLIENT_ID": self.client_id,
            "HOIST_AGENT_STATE_DIR": str(self.state_dir),
            "HOIST_AGENT_TOKEN": self.token,
            "HOIST_AGENT_API_URL": api_url,
            "HOIST_AGENT_API_TOKEN": report_token,
            **self.environ,
        }
        log = self.root / "logs" / f"agent-{self.client_id}.log"
        argv = [sys.executable, "-m", "agent"]
        self.process = Process(f"agent-{self.client_id}", argv, env, self.home, log).start()

    def restart(self) -> None:
        """Start it again, after a kill."""
        if self.process is not None:
            self.process.start()
            self.wait_until_up()

    def wait_until_up(self) -> None:
        """Wait until it answers."""
        wait_until(f"agent {self.client_id}", self._answers, self.process)

    def get(self, path: str) -> httpx.Response:
        """GET `path`, as its caller."""
        return httpx.get(f"{self.url}{path}", headers={"Authorization": f"Bearer {self.token}"}, timeout=10)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", timeout=5).is_success
        except httpx.TransportError:
            return False


class Fleet:
    """Start it with `with Fleet(...) as fleet:` or start() and stop(); from the main thread (see Process).

    `environ` is for every process but the agents. A `prefect` that is given is used and left running.
    `cache` is a directory that later fleets use again.
    """

    def __init__(
        self,
        root: Path,
        client_ids: Sequence[str],
        *,
        database_url: str | None = None,
        environ: Mapping[str, str] | None = None,
        prefect: PrefectServer | None = None,
        cache: Path | None = None,
    ) -> None:
        self.root = root.resolve()
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)
        self.prefect = prefect or PrefectServer(self.root, cache)
        self._owns_prefect = prefect is None
        self.agents = {client_id: Agent(self.root, client_id) for client_id in client_ids}
        self.database_url = database_url or f"sqlite:///{self.root / 'hoist.db'}"
        self.operator_token = secrets.token_urlsafe(32)
        self.api_port = free_port()
        self.api_url = f"http://127.0.0.1:{self.api_port}"
        self.api = ReleaseApi(self.api_url, self.operator_token)
        self.env = self._environment(environ or {})
        self.api_process = self._process("release-api", "-m", "api")
        self.worker = self._process(
            "worker",
            "-m",
            "prefect",
            "worker",
            "start",
            "--pool",
            WORK_POOL,
            "--type",
            "process",
            "--name",
            "fleet",
        )
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and wait until all of it answers, the deployments served."""
        self.start_servers()
        self.start_agents()
        self.serve_everything()

    def start_servers(self) -> None:
        """Start Prefect's server and the release API; wait for the latter alone."""
        self._start_guard()
        if self._owns_prefect:
            self.prefect.start()
        self.migrate()
        self.api_process.start()
        wait_until("release API", self.api.answers, self.api_process)

    def start_agents(self) -> None:
        """Register the clients and start their agents."""
        for agent in self.agents.values():
            labels = {"fleet": "demo"}
            client = self.api.post(
                "/clients", client_id=agent.client_id, url=agent.url, token=agent.token, labels=labels
            )
            agent.start(self.api_url, client["report_token"])
        for agent in self.agents.values():
            agent.wait_until_up()

    def serve_upgrades(self) -> None:
        """Make the work pool, deploy `upgrade/fleet` of prefect.yaml to it and start the worker that serves it."""
        self.prefect.wait_until_up()
        pool = {"name": WORK_POOL, "type": "process"}
        answer = httpx.post(f"{self.prefect.url}/work_pools/", json=pool, timeout=60)
        if answer.status_code not in (201, 409):
            raise DemoError(
                f"cannot make the work pool: Prefect answers {answer.status_code} {answer.text[:200]}"
            )
        self.worker.start()
        deploy = self._process("deploy", *DEPLOY, "--name", UPGRADE).start()
        wait_until("end of prefect deploy", lambda: not deploy.running or None, timeout_s=120)
        wait_until("work pool", self._worker_polls, self.worker, timeout_s=120)
        wait_until("deployment", self._is_deployed, self.worker, timeout_s=20)

    def serve_everything(self) -> None:
        """All that prefect.yaml lists, the flows that watch the fleet among it, and the automations."""
        if not self.worker.running:
            self.serve_upgrades()
        deploy = self._process("deploy-all", *DEPLOY, "--all").start()
        automate = self._process("automations", "-m", "deployments.automations").start()
        wait_until("end of prefect deploy", lambda: not deploy.running or None, timeout_s=120)
        wait_until("end of registering", lambda: not automate.running or None, timeout_s=120)

    def migrate(self) -> None:
        """Bring a PostgreSQL database to head; SQLite is, by whoever starts first."""
        if not self.database_url.startswith("sqlite"):
            argv = [sys.executable, "-m", "db", "upgrade"]
            done = subprocess.run(argv, env=self.env, cwd=CODE, capture_output=True, text=True, check=False)
            if done.returncode:
                raise DemoError(f"cannot migrate the database: {done.stderr[-500:]}")

    def stop(self) -> None:
        """Stop every process of the fleet: by SIGTERM, and what is left by SIGKILL. Applications are not its business."""
        self.api.close()
        agents = [agent.process for agent in self.agents.values() if agent.process is not None]
        servers = [self.prefect.process] if self._owns_prefect else []
        processes = [self.worker, *agents, self.api_process, *servers]
        for process in processes:
            process.signal_term()
        for process in processes:
            process.stop(timeout_s=8)
        kill_all(lambda: [pid for pid in marked_pids(self.root) if not self._is_guard(pid)])
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            self._guard.wait(30)

    def flow_run(self, flow_run_id: str) -> dict[str, Any]:
        """A flow run as Prefect has it."""
        return dict(
            httpx.get(f"{self.prefect.url}/flow_runs/{flow_run_id}", timeout=30).raise_for_status().json()
        )

    def _is_guard(self, pid: int) -> bool:
        return self._guard is not None and pid == self._guard.pid

    def _start_guard(self) -> None:
        argv = [sys.executable, "-m", "deployments.demo.guard", str(self.root)]
        self._guard = subprocess.Popen(
            argv,
            env=self.env,
            cwd=CODE,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        env = base_environment(self.root, self.root / "home")
        return env | {
            "PREFECT_HOME": str(self.root / "prefect-client"),
            "PREFECT_API_URL": self.prefect.url,
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "HOIST_DATABASE_URL": self.database_url,
            "HOIST_SECRET_KEY_FILE": str(self.root / "secret.key"),
            "HOIST_API_PORT": str(self.api_port),
            "HOIST_API_OPERATOR_TOKEN": self.operator_token,
            "HOIST_API_URL": self.api_url,
            **more,
        }

    def _process(self, name: str, *arguments: str) -> Process:
        return Process(name, [sys.executable, *arguments], self.env, CODE, self.root / "logs" / f"{name}.log")

    def _worker_polls(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            pool = httpx.get(f"{self.prefect.url}/work_pools/{WORK_POOL}", timeout=30)
            return pool.is_success and pool.json().get("status") == "READY"
        return False

    def _is_deployed(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.prefect.url}/deployments/name/{UPGRADE}", timeout=30).is_success
        return False


def default_root() -> Path:
    """Where `make demo` keeps its state: ./.demo, or HOIST_DEMO_DIR."""
    return Path(os.environ.get("HOIST_DEMO_DIR") or CODE / ".demo").resolve()
