"""A container project on the fleet, of one test alone; all of its clients' agents share the tests' one engine."""

import itertools
import json
import time
import urllib.request

import httpx

from deployments.demo.processes import wait_until
from tests.e2e.shop import FINAL

STRATEGY = {"waves": ["100%"], "stable_for_s": 1, "health_timeout_s": 20}
_numbers = itertools.count(1)


class ContainerShop:
    """Versions 1.0, 1.1 and 1.2, whose health check never passes."""

    def __init__(self, fleet, engine, clients, network=None):
        self.fleet, self.api, self.engine, self.clients = fleet, fleet.api, engine, tuple(clients)
        self.name = f"boxes{next(_numbers)}"
        self.network = network
        self.project = self.api.post(
            "/projects", name=self.name, type="container", container_naming={"prefix": self.name}
        )["id"]
        self.environment = self.api.post(f"/projects/{self.project}/environments", name="prod")["id"]
        self.targets = {client: self._add_target(client) for client in self.clients}
        self.images = {
            "1.0": engine.build(f"{self.name}:1.0"),
            "1.1": engine.build(f"{self.name}:1.1"),
            "1.2": engine.build(f"{self.name}:1.2", UNHEALTHY="1"),
        }
        self.versions = {version: self._add_version(version) for version in self.images}

    def _add_target(self, client):
        body = {"client_id": client, "name": client, "type": "host"}
        return self.api.post(f"/environments/{self.environment}/targets", **body)["id"]

    def _add_version(self, version):
        config = {
            "image": f"{self.name}:{version}",
            "pull": "never",
            "ports": [{"container_port": 8080, "host_ip": "127.0.0.1"}],
            "env": {"GREETING": "from the version"},
            "stop_timeout_s": 5,
            "networks": [{"name": self.network, "aliases": ["shop"]}] if self.network else [],
        }
        return self.api.post(
            "/versions",
            project_id=self.project,
            version=version,
            status="active",
            timeout_s=60,
            deploy_config=config,
        )

    def deploy(self, operation, **more):
        """Create, start and follow to the end."""
        body = {"project_id": self.project, "operation": operation, "strategy": STRATEGY, **more}
        task_id = self.api.post("/tasks", **body)["id"]
        self.api.post(f"/tasks/{task_id}/start")

        def ended():
            task = self.api.get(f"/tasks/{task_id}")
            return task if task["status"] in FINAL else None

        return wait_until(f"end of {self.name}'s deploy task", ended, self.fleet.worker, 180)

    def results(self, task):
        found = (self.api.get(f"/tasks/{task['id']}/results/{client}") for client in self.clients)
        return {result["client_id"]: result for result in found}

    def installations(self):
        rows = self.api.get(f"/projects/{self.project}/installations")
        return {row["client_id"]: (row["version"], row["previous_version"], row["status"]) for row in rows}

    def containers(self, client, state=None):
        """What the engine has of the project and the client."""
        labels = [f"hoist.project={self.project}", f"hoist.client={client}"]
        found = self.engine.containers(label=labels)
        return [one for one in found if state is None or one["State"] == state]

    def serving(self, client):
        """The versions that answer on the client: of every container that runs there."""
        return sorted(_ask(one) for one in self.containers(client, "running"))

    def reported(self):
        """What the release API says of the project's containers."""
        return self.api.get(f"/projects/{self.project}/containers")

    def report_now(self):
        """Have every client's agent report."""
        for client in self.clients:
            agent = self.fleet.agents[client]
            headers = {"Authorization": f"Bearer {agent.token}"}
            url = f"{agent.url}/v1/commands/container.report"
            answer = httpx.post(url, json={"all": True}, headers=headers, timeout=30)
            assert answer.raise_for_status().json()["delivered"], answer.text

    def artifact(self, flow_run_id, key):
        """A table artifact of the run, once it is there."""

        def found():
            body = {"flow_runs": {"id": {"any_": [flow_run_id]}}}
            artifacts = httpx.post(f"{self.fleet.prefect.url}/artifacts/filter", json=body, timeout=30).json()
            return next((json.loads(one["data"]) for one in artifacts if one["key"] == key), None)

        return wait_until(f"artifact {key}", found, timeout_s=30)


def _ask(container):
    port = next(one["PublicPort"] for one in container["Ports"] if "PublicPort" in one)
    deadline = time.monotonic() + 10
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                return answer.read().decode().strip()
        except OSError:
            if time.monotonic() > deadline:
                raise
