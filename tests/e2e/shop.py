"""A project on the fleet, of one test alone: its targets, its two versions, and what really runs on each client."""

import itertools
import os
import shutil
import signal
import socket
import sys
import time
from pathlib import Path

import httpx

from deployments.demo.environment import free_port
from deployments.demo.fleet import Fleet
from deployments.demo.leftovers import APPLICATION_MARK
from deployments.demo.processes import marked_pids, wait_until
from deployments.demo.release_api import ApiProblem

HERE = Path(__file__).parent
STRATEGY = {"waves": ["100%"], "stable_for_s": 1, "health_timeout_s": 20}
FINAL = ("completed", "failed", "cancelled", "rolled_back")
_numbers = itertools.count(1)


class Shop:
    """`clients` have it as targets; put_1_0() makes 1.0 run there without a flow, install() with one."""

    def __init__(self, fleet: Fleet, clients=None, **version):
        self.fleet, self.api = fleet, fleet.api
        self.clients = tuple(clients or fleet.agents)
        self.name = f"shop{next(_numbers)}"
        self.ports = {client: free_port() for client in self.clients}
        self.project = self.api.post("/projects", name=self.name, type="script")["id"]
        self.environment = self.api.post(f"/projects/{self.project}/environments", name="prod")["id"]
        self.targets = {client: self.add_target(client) for client in self.clients}
        self.versions = {name: self.add_version(name, **version) for name in ("1.0", "1.1")}
        for client in self.clients:
            if client in fleet.agents:
                self._prepare(client)

    def add_target(self, client):
        body = {"client_id": client, "name": client, "type": "host"}
        return self.api.post(f"/environments/{self.environment}/targets", **body)["id"]

    def add_version(self, name, **more):
        script = (HERE / "deploy.sh").read_text()
        probe = f'. "$HOME/{self.name}/host.env"; exec bash -c "cat </dev/tcp/127.0.0.1/$PORT"'
        body = {
            "project_id": self.project,
            "version": name,
            "status": "active",
            "work_dir": str(self.fleet.root / "work"),
            "install_script": script,
            "update_script": script,
            "timeout_s": 60,
            "detach_method": "setsid",
            "env": {"APP": self.name, "PYTHON": sys.executable, APPLICATION_MARK: str(self.fleet.root)},
            "process_config": {
                "rules": [
                    {"type": "pidfile", "pattern": f"/proc/self/cwd/{self.name}/app.pid", "name": "app"}
                ],
                "collect_interval": 5,
            },
            "evidence": {"version_probe": {"type": "command", "command": probe, "timeout_s": 10}},
        }
        return self.api.post("/versions", **body | more)

    def directory(self, client):
        return self.fleet.agents[client].home / self.name

    def _prepare(self, client):
        directory = self.directory(client)
        directory.mkdir(parents=True)
        (directory / "host.env").write_text(f"PORT={self.ports[client]}\n")
        shutil.copy(HERE / "server.py", directory)

    def behave(self, client, behaviour):
        """From now on, the update script does this there."""
        (self.directory(client) / "behaviour").write_text(behaviour)

    def put_1_0(self, *clients):
        """Make 1.0 run and be known as installed, without a flow: the agent is asked directly, the API told."""
        for client in [one for one in clients or self.clients if one in self.fleet.agents]:
            self.run_by_hand(client, "1.0")
        for client in clients or self.clients:
            self.api.post(
                f"/projects/{self.project}/installations", target_id=self.targets[client], version="1.0"
            )

    def run_by_hand(self, client, version):
        """Have the agent run the version's install script, without a flow, to its end."""
        agent, registered = self.fleet.agents[client], self.versions[version]
        execution_id = f"{self.name}.{client}.{version}"
        body = {
            "execution_id": execution_id,
            "release_id": "by-hand",
            "project_id": self.project,
            "target_id": self.targets[client],
            "operation": "install",
            "version": version,
            "script": registered["install_script"],
            "work_dir": registered["work_dir"],
            "env": registered["env"],
            "detach_method": "setsid",
        }
        headers = {"Authorization": f"Bearer {agent.token}"}
        url = f"{agent.url}/v1/commands/release.execute"
        httpx.post(url, json=body, headers=headers, timeout=30).raise_for_status()

        def ended():
            answer = agent.get(f"/v1/executions/{execution_id}?wait_s=5").json()
            return answer if answer["state"] not in ("queued", "running") else None

        execution = wait_until("end of the installation", ended)
        assert execution["state"] == "succeeded", execution

    def kill_application(self, client):
        """SIGKILL what serves there; its pid."""
        pid = int((self.directory(client) / "app.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        return pid

    def request(self, **more):
        body = {
            "project_id": self.project,
            "version": "1.1",
            "operation": "update",
            "auto_select_clients": True,
        }
        return body | {"strategy": STRATEGY} | more

    def create(self, **more):
        return self.api.post("/tasks", **self.request(**more))["id"]

    def start(self, task_id):
        return self.api.post(f"/tasks/{task_id}/start")

    def take_over(self, task_id):
        """Start it as soon as the lease of a run that is killed or frozen is over; the new flow run's id."""

        def started():
            try:
                return self.start(task_id)
            except ApiProblem as problem:
                if problem.status != 409:
                    raise
                return None

        return wait_until("end of the other run's lease", started, timeout_s=60)["flow_run_id"]

    def upgrade(self, **more):
        """Create, start and follow to the end."""
        task_id = self.create(**more)
        self.start(task_id)
        return self.ended(task_id)

    def ended(self, task_id, timeout_s=180):
        def ended():
            task = self.api.get(f"/tasks/{task_id}")
            return task if task["status"] in FINAL else None

        return wait_until(f"end of {self.name}'s deploy task", ended, self.fleet.worker, timeout_s)

    def results(self, task_id):
        return {result["client_id"]: result for result in self.api.get(f"/tasks/{task_id}/results")}

    def result(self, task_id, client):
        return self.api.get(f"/tasks/{task_id}/results/{client}")

    def installations(self):
        return {row["client_id"]: row for row in self.api.get(f"/projects/{self.project}/installations")}

    def serving(self, client):
        """What the application there says itself; None when nobody listens."""
        try:
            with socket.create_connection(("127.0.0.1", self.ports[client]), timeout=5) as connection:
                return connection.recv(100).decode().strip()
        except OSError:
            return None

    def runs(self, client):
        """Every run of a script there, as `operation version`."""
        return (self.directory(client) / "runs").read_text().splitlines()

    def await_started(self, *clients):
        """Wait until the slow script runs on all of them; a deploy task that ends before that is a failure."""

        def started():
            ended = [
                task for task in self.api.get("/tasks", project_id=self.project) if task["status"] in FINAL
            ]
            assert not ended, ended
            return all((self.directory(client) / "started").exists() for client in clients) or None

        wait_until("start of the slow scripts", started, self.fleet.worker, 90)


def flow_state(fleet, flow_run_id, timeout_s=60):
    """The flow run's final state: its type, name and message."""

    def final():
        state = fleet.flow_run(flow_run_id)["state"]
        return state if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

    return wait_until("end of the flow run", final, fleet.worker, timeout_s)


def flow_logs(fleet, flow_run_id, wanted="", timeout_s=30):
    """All that the flow run and its task runs logged, once `wanted` is in it."""

    def logged():
        body = {"logs": {"flow_run_id": {"any_": [flow_run_id]}}, "limit": 200, "sort": "TIMESTAMP_DESC"}
        lines = httpx.post(f"{fleet.prefect.url}/logs/filter", json=body, timeout=30).json()
        text = "\n".join(line["message"] for line in reversed(lines))
        return text if wanted in text else None

    return wait_until(f"{wanted!r} in the flow run's log", logged, timeout_s=timeout_s) or ""


def create_flow_run(fleet, **parameters):
    """What Prefect's UI and `create_flow_run` do: a run of the deployment, by Prefect's own API."""
    deployment = (
        httpx.get(f"{fleet.prefect.url}/deployments/name/upgrade/fleet", timeout=30).raise_for_status().json()
    )
    url = f"{fleet.prefect.url}/deployments/{deployment['id']}/create_flow_run"

    def made():
        answer = httpx.post(url, json={"parameters": parameters}, timeout=30)
        return None if answer.status_code == 503 else answer.raise_for_status().json()["id"]

    return wait_until("flow run that a busy Prefect server makes", made)


def flow_processes(fleet, flow_run_id):
    """The pids of the process that runs this flow run, and of its children."""
    found = []
    for pid in marked_pids(fleet.root):
        try:
            if str(flow_run_id).encode() in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(pid)
        except OSError:
            continue
    return found


def pause(seconds):
    """Let time pass where its passing is what is tested."""
    time.sleep(seconds)
