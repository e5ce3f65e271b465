"""Two API processes take a fleet's reports into one database at once: each report once, each alert once, no deadlock."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import repeat

import httpx
import pytest
from sqlalchemy import func, select, text

from agent.wire.processes import ProcessConfig, Rule
from db.ids import new_id
from db.models import (
    Alert,
    AlertMemory,
    Client,
    ContainerReportRow,
    LatestContainerReport,
    LatestProcessReport,
    ProcessReportRow,
    ProcessSet,
    Version,
)
from db.secrets import sha256_hex
from tests.api_process import report_key_of, start_api
from tests.builders import create_container_project, create_fleet
from tests.served_api import closed_port

CLIENTS = 25
ROUNDS = 12
PATIENCE_S = 90


@pytest.fixture
def project(database):
    """A version that watches one rule; a project whose containers are watched."""
    with database.write() as session:
        made, _ = create_fleet(session, {f"c{number:02}": "1.4" for number in range(CLIENTS)})
        create_container_project(session, "boxes")
        rules = (Rule(type="name", pattern="shop", name="shop"),)
        for version in session.scalars(select(Version)):
            version.process_config = ProcessConfig(rules=rules, alert_on_high_cpu=50, alert_for_s=0)
        for client in session.scalars(select(Client)):
            client.report_token_sha256 = sha256_hex(f"token-of-{client.client_id}")
        return made


@pytest.fixture
def processes(database_url, project, tmp_path):
    """Two, on ports of their own."""
    ports = [closed_port() for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        running = list(pool.map(start_api, repeat(database_url), ports, repeat(tmp_path)))
    yield [f"http://127.0.0.1:{port}" for port in ports]
    for process in running:
        process.terminate()
        process.wait(PATIENCE_S)


class Agent(threading.Thread):
    """Sends every report to both processes at the same moment, as one that had no answer from the first; each until it
    is taken.
    """

    def __init__(self, number, project_id, urls):
        super().__init__(daemon=True)
        self.name, self.project_id, self.urls = f"c{number:02}", project_id, urls
        self.sent, self.fresh, self.newest_at, self.statuses = [], Counter(), None, Counter()

    def run(self):
        headers = {"Authorization": f"Bearer token-of-{self.name}"}
        both = [
            httpx.Client(base_url=url, headers=headers, timeout=PATIENCE_S, trust_env=False, verify=False)
            for url in self.urls
        ]
        with both[0], both[1], ThreadPoolExecutor(2) as pool:
            for number in range(ROUNDS):
                self.newest_at = datetime.now(UTC)
                for address, said in (
                    ("process", self.processes(number)),
                    ("container", self.containers(number)),
                ):
                    body = {"client_id": self.name, "reported_at": self.newest_at.isoformat(), **said}
                    body["report_id"] = new_id()
                    self.sent.append((address, body["report_id"]))
                    list(pool.map(self.post, both, repeat(address), repeat(body)))

    def processes(self, number):
        # Its load goes over the limit once, and stays there; every third report has another process.
        cpu = 90.0 if number >= ROUNDS // 2 else 1.0
        process = {"pid": 100 + number // 3, "start_ticks": 7, "name": "shop", "status": "running"}
        process |= {"start_time": "2026-01-01T00:00:00Z", "matched_by": "shop", "cpu_percent": cpu}
        return {"project_id": self.project_id, "version": "1.4", "processes": [process]}

    def containers(self, number):
        box = {"container_id": "a" * 64, "container_name": "boxes-1", "image": "boxes:1", "status": "Up"}
        box |= {"state": "running", "restart_count": number // 4, "created_at": "2030-01-01T00:00:00Z"}
        return {"containers": [box]}

    def post(self, api, address, body):
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            answer = api.post(f"/release/{address}-report", json=body)
            self.statuses[answer.status_code] += 1
            if answer.status_code == 202:
                self.fresh[body["report_id"]] += not answer.json()["duplicate"]
                return
            assert answer.status_code == 503, answer.text  # raced: again, as an agent does
            time.sleep(0.02)


def test_each_report_once_and_no_deadlock(database, project, processes):
    agents = [Agent(number, project.id, processes) for number in range(CLIENTS)]
    for agent in agents:
        agent.start()
    for agent in agents:
        agent.join(PATIENCE_S)
        assert not agent.is_alive()
    statuses = sum((agent.statuses for agent in agents), Counter())
    print(f"answers: {dict(statuses)}")
    assert statuses[202] == CLIENTS * ROUNDS * 4
    with database.read() as session:
        if not database.is_sqlite:
            deadlocks = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
            assert session.scalar(deadlocks) == 0
        for address, history in (("process", ProcessReportRow), ("container", ContainerReportRow)):
            kept = Counter(session.execute(select(history.client_id, history.report_key)).tuples())
            wanted = {
                (agent.name, report_key_of(report_id))
                for agent in agents
                for kind, report_id in agent.sent
                if kind == address
            }
            assert set(kept) == wanted, "no loss"
            assert set(kept.values()) == {1}, "no duplicate"
        for latest in (LatestProcessReport, LatestContainerReport):
            newest = dict(session.execute(select(latest.client_id, latest.reported_at)).tuples().all())
            assert newest == {agent.name: agent.newest_at for agent in agents}
        sets = session.scalar(select(func.count()).select_from(ProcessSet))
        alerts = Counter(session.execute(select(Alert.client_id, Alert.type)).tuples())
        memories = session.scalar(select(func.count()).select_from(AlertMemory))
    for agent in agents:
        assert set(agent.fresh.values()) == {1}, "each was told to be new once"
    assert sets == CLIENTS * (ROUNDS // 3)
    assert memories == CLIENTS * 2
    of_each = {"process_restart", "process_cpu_high", "container_restarted"}
    assert alerts == {(agent.name, kind): 1 for agent in agents for kind in of_each}
