"""A real Prefect server, simulated agents that speak agent/wire, and a database with a project on them."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
import uvicorn
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ANALYTICS_ENABLED, temporary_settings
from sqlalchemy import select

from agent.wire.processes import ProcessConfig, Rule
from agent.wire.releases import VersionProbe
from benchmarks.rollout.agents import SimulatedClient, SimulatedFleet
from db.documents.deploy_request import DeployTaskRequest
from db.documents.evidence import EvidenceConfig
from db.models import DeployResult, DeployTask, Installation, utc_now
from db.secrets import load_secret_key
from db.session import Database, open_database
from tasks.planning import create_deploy_task
from tests.builders import (
    create_client,
    create_environment,
    create_installation,
    create_project,
    create_target,
    create_version,
)
from tests.prefect_server import prefect_server  # noqa: F401 (a fixture)

QUICK = {"waves": ["100%"], "stable_for_s": 0, "health_timeout_s": 1}


@pytest.fixture(scope="session")
def prefect_api(prefect_server) -> Iterator[str]:  # noqa: F811 (the fixture)
    """Flows in this process talk to a real server; what they still have to say is said before it stops."""
    with temporary_settings({PREFECT_API_URL: prefect_server.url, PREFECT_SERVER_ANALYTICS_ENABLED: False}):
        yield prefect_server.url
        APILogWorker.drain_all(timeout=10)
        EventsWorker.drain_all(timeout=10)


@dataclass
class Shop:
    """A project in one environment, on simulated clients that have version 1.4."""

    database: Database
    fleet: SimulatedFleet
    project_id: str

    def client(self, client_id: str) -> SimulatedClient:
        return self.fleet.clients[client_id]

    def plan(self, **values) -> str:
        """A deploy task to 1.5; answers its id."""
        asked = {
            "project_id": self.project_id,
            "version": "1.5",
            "auto_select_clients": True,
            "strategy": QUICK,
            **values,
        }
        with self.database.write() as session:
            request = DeployTaskRequest.model_validate(asked)
            return create_deploy_task(session, request, now=utc_now(), who="test").id

    def task(self, deploy_task_id: str) -> DeployTask:
        with self.database.read() as session:
            return session.get_one(DeployTask, deploy_task_id)

    def results(self, deploy_task_id: str) -> dict[str, DeployResult]:
        with self.database.read() as session:
            rows = session.scalars(select(DeployResult).where(DeployResult.deploy_task_id == deploy_task_id))
            return {row.client_id: row for row in rows}

    def statuses(self, deploy_task_id: str) -> dict[str, str]:
        return {client: row.status for client, row in self.results(deploy_task_id).items()}

    def installations(self) -> dict[str, Installation]:
        with self.database.read() as session:
            return {row.client_id: row for row in session.scalars(select(Installation))}


@pytest.fixture
def served() -> Iterator[tuple[SimulatedFleet, str]]:
    """Eight simulated agents."""
    yield from serve_agents(SimulatedFleet([f"c{number}" for number in range(1, 9)], version="1.4"))


def serve_agents(fleet: SimulatedFleet) -> Iterator[tuple[SimulatedFleet, str]]:
    """Serve them on a port of the kernel's choice; their address."""
    server = uvicorn.Server(uvicorn.Config(fleet.app, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield fleet, f"http://127.0.0.1:{port}"
    server.should_exit = server.force_exit = True
    thread.join(60)


def _make_shop(url: str, tmp_path, monkeypatch, served, count: int = 4) -> Shop:
    monkeypatch.setenv("HOIST_DATABASE_URL", url)
    monkeypatch.setenv("HOIST_SECRET_KEY_FILE", str(tmp_path / "secret.key"))
    monkeypatch.setenv("HOIST_RETRY_WINDOW_S", "0.5")
    fleet, address = served
    token = load_secret_key().encrypt("token-of-the-simulated-agents")
    database = open_database(url)
    with database.write() as session:
        project = create_project(session, "shop")
        environment = create_environment(session, project, "prod")
        evidence = EvidenceConfig(version_probe=VersionProbe(type="command", command="app --version"))
        watched = ProcessConfig(rules=(Rule(type="name", pattern="app", name="main"),))
        for version in ("1.4", "1.5"):
            create_version(session, project, version, process_config=watched, evidence=evidence)
        for client_id in list(fleet.clients)[:count]:
            client = create_client(session, client_id, url=f"{address}/{client_id}", token_encrypted=token)
            target, since = create_target(session, environment, client), utc_now() - timedelta(days=1)
            create_installation(session, target, "1.4", installed_at=since)
        return Shop(database, fleet, project.id)


@pytest.fixture
def shop(database_url, tmp_path, monkeypatch, served, prefect_api) -> Iterator[Shop]:
    """Four clients that have shop 1.4, on SQLite and on PostgreSQL: the test runs twice."""
    made = _make_shop(database_url, tmp_path, monkeypatch, served)
    yield made
    made.database.close()


@pytest.fixture
def quick_shop(sqlite_url, tmp_path, monkeypatch, served, prefect_api) -> Iterator[Shop]:
    """Eight clients that have shop 1.4, on SQLite."""
    made = _make_shop(sqlite_url, tmp_path, monkeypatch, served, count=8)
    yield made
    made.database.close()
