"""The API's process is killed while 50 agents report: what was answered 202 is there, and nothing is there twice."""

import threading
import time
from collections import Counter
from datetime import UTC, datetime

import httpx
from sqlalchemy import select

from db.history.batches import PROCESSES
from db.ids import new_id
from db.models import Client, LatestProcessReport
from db.secrets import sha256_hex
from tests.api_process import report_key_of, start_api
from tests.builders import create_fleet
from tests.served_api import closed_port

REPORTERS = 50
PATIENCE_S = 60
KILLS = 2


class Reporter(threading.Thread):
    """An agent: a report that isn't answered is sent again, until it is."""

    def __init__(self, number, project_id, url, ending):
        super().__init__(daemon=True)
        self.name, self.project_id, self.url, self.ending = f"c{number:02}", project_id, url, ending
        self.answered, self.fresh = [], Counter()

    def run(self):
        with httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer token-of-{self.name}"},
            timeout=PATIENCE_S,
            trust_env=False,
        ) as api:
            while not self.ending.is_set():
                self.report(api, new_id())

    def report(self, api, report_id):
        at = datetime.now(UTC).isoformat()
        body = {"client_id": self.name, "project_id": self.project_id, "version": "1.4", "processes": []}
        while not self.ending.is_set():
            try:
                answer = api.post(
                    "/release/process-report", json={**body, "reported_at": at, "report_id": report_id}
                )
            except httpx.TransportError:
                time.sleep(0.02)
                continue
            assert answer.status_code == 202, answer.text
            self.answered.append(report_id)
            self.fresh[report_id] += not answer.json()["duplicate"]
            return


def test_what_was_answered_is_there_and_nothing_twice(database, database_url, tmp_path):
    with database.write() as session:
        project, _ = create_fleet(session, {f"c{number:02}": "1.4" for number in range(REPORTERS)})
        for client in session.scalars(select(Client)):
            client.report_token_sha256 = sha256_hex(f"token-of-{client.client_id}")
    port, ending = closed_port(), threading.Event()
    process = start_api(database_url, port, tmp_path)
    reporters = [
        Reporter(number, project.id, f"http://127.0.0.1:{port}", ending) for number in range(REPORTERS)
    ]
    try:
        for reporter in reporters:
            reporter.start()
        for _ in range(KILLS):
            wait_for_answers(reporters, more=200)
            process.kill()
            process.wait()
            process = start_api(database_url, port, tmp_path)
        wait_for_answers(reporters, more=200)
    finally:
        ending.set()
        for reporter in reporters:
            reporter.join(PATIENCE_S)
        process.kill()
        process.wait()
    with database.read() as session:
        kept = Counter(
            session.execute(select(PROCESSES.history.client_id, PROCESSES.history.report_key)).all()
        )
        newest = len(session.scalars(select(LatestProcessReport.client_id)).all())
    answered = {(one.name, report_key_of(report_id)) for one in reporters for report_id in one.answered}
    assert answered <= {tuple(key) for key in kept}
    assert set(kept.values()) == {1}
    assert max(max(one.fresh.values(), default=0) for one in reporters) == 1
    assert len(kept) - len(answered) <= REPORTERS  # at most the last one of each, which the end cut off
    assert newest == REPORTERS


def wait_for_answers(reporters, more):
    wanted = sum(len(one.answered) for one in reporters) + more
    deadline = time.monotonic() + PATIENCE_S
    while sum(len(one.answered) for one in reporters) < wanted:
        assert time.monotonic() < deadline, "too few reports were answered"
        time.sleep(0.01)
