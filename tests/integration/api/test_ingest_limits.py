"""Reports with an Idempotency-Key, and more reports than can be written, on both databases."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select

from api.errors import TransientApiError
from api.ingest import batches
from api.ingest.batches import MAX_BATCH, MAX_WAITING, Batches
from db.models import Client, ContainerReportRow, ProcessReportRow
from db.secrets import sha256_hex
from tests.builders import create_fleet
from tests.metrics import read_metrics
from tests.served_api import assert_problem, serve_api

TOKEN = "the-report-token-of-c1"
PATIENCE_S = 60


@pytest.fixture
def project(database):
    with database.write() as session:
        made = create_fleet(session, {"c1": "1.4"})[0]
        session.get_one(Client, "c1").report_token_sha256 = sha256_hex(TOKEN)
        return made


def processes(project, **fields):
    said = {"client_id": "c1", "project_id": project.id, "version": "1.4", "processes": []}
    return "/release/process-report", {**said, "reported_at": datetime.now(UTC).isoformat(), **fields}


def containers(_project, **fields):
    said = {"client_id": "c1", "containers": [], "reported_at": datetime.now(UTC).isoformat()}
    return "/release/container-report", {**said, **fields}


def kept(database):
    with database.read() as session:
        return sum(
            session.scalar(select(func.count()).select_from(table))
            for table in (ProcessReportRow, ContainerReportRow)
        )


@pytest.mark.parametrize("make", [processes, containers])
def test_report_with_a_key_is_kept_once_and_answered_the_same(served, database, project, make):
    agent, key = served.client(TOKEN), {"Idempotency-Key": "k-1"}
    address, body = make(project, report_id="r-1")
    first, again = (agent.post(address, json=body, headers=key) for _ in range(2))
    assert first.status_code == again.status_code == 202
    assert first.json() == again.json() == {"report_id": "r-1", "duplicate": False, "newest": True}
    assert again.headers["idempotent-replayed"] == "true"
    # The report is known by its own id, whatever the key is, or none.
    for headers in ({"Idempotency-Key": "k-2"}, {}):
        assert agent.post(address, json=body, headers=headers).json()["duplicate"] is True
    _, other = make(project, report_id="r-2")
    assert_problem(agent.post(address, json=other, headers=key), 422, mentions="another request")
    assert kept(database) == 1
    # A key is its caller's own.
    assert served.operator.post(address, json=other, headers=key).json()["duplicate"] is False


@pytest.mark.parametrize("make", [processes, containers])
def test_refused_report_leaves_its_key_free(served, database, project, make):
    agent, key = served.client(TOKEN), {"Idempotency-Key": "k-1"}
    address, body = make(project, client_id="c2")
    assert_problem(agent.post(address, json=body, headers=key), 403)
    assert agent.post(address, json=make(project)[1], headers=key).status_code == 202
    assert kept(database) == 1


def test_one_report_with_one_key_at_once_at_two_processes(database, project):
    address, body = processes(project, report_id="r-1")
    with serve_api(database) as one, serve_api(database) as two:
        gate = threading.Barrier(8)

        def post(number):
            agent = (one, two)[number % 2].client(TOKEN)
            gate.wait(PATIENCE_S)
            return agent.post(address, json=body, headers={"Idempotency-Key": "k"})

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(post, range(8)))
        assert {answer.status_code for answer in answers} <= {202, 409}
        for answer in answers:
            if answer.status_code == 409:
                assert_problem(answer, 409, mentions="still running")
            else:
                assert answer.json()["duplicate"] is False
    assert any(answer.status_code == 202 for answer in answers)
    assert kept(database) == 1


class Held:
    """A judge that keeps the first batch waiting until it is let go."""

    def __init__(self):
        self.began, self.go_on = threading.Event(), threading.Event()

    def __call__(self, _session, _accepted):
        self.began.set()
        assert self.go_on.wait(PATIENCE_S)


def test_where_too_many_wait_the_next_is_told_to_come_later(database, project, monkeypatch):
    monkeypatch.setattr(batches, "MAX_WAITING", 3)
    held = Held()
    with serve_api(database, judge_processes=held) as api, ThreadPoolExecutor(4) as pool:
        viewer = api.viewer

        def post(number):
            address, body = processes(project, report_id=f"r-{number}")
            return api.client(TOKEN).post(address, json=body)

        taken = [pool.submit(post, 0)]
        assert held.began.wait(PATIENCE_S)
        taken += [pool.submit(post, number) for number in (1, 2, 3)]
        deadline = time.monotonic() + PATIENCE_S
        while (found := read_metrics(viewer))["hoist_ingest_waiting_reports", "process"] < 3:
            assert time.monotonic() < deadline
        refused = post(4)
        problem = assert_problem(refused, 503, mentions="too many wait")
        assert problem["part"] == "database"
        assert int(refused.headers["retry-after"]) > 0
        held.go_on.set()
        assert [one.result(PATIENCE_S).status_code for one in taken] == [202] * 4
        assert post(4).json()["duplicate"] is False, "what is refused is not kept"
        found = read_metrics(viewer)
    assert kept(database) == 5
    assert found["hoist_reports_total", "process", "failed"] == 1
    assert found["hoist_reports_total", "process", "ingested"] == 5


async def test_ten_thousand_wait_and_one_more_does_not():
    go_on, sizes = threading.Event(), []

    def write(items):
        assert go_on.wait(PATIENCE_S)
        sizes.append(len(items))
        return items

    made = Batches(write, "test")
    writing = asyncio.create_task(made.put(-1, 1))
    while made.waiting or not writing:
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    waiting = [asyncio.create_task(made.put(number, 1)) for number in range(MAX_WAITING)]
    await asyncio.sleep(0)
    while made.waiting < MAX_WAITING:
        await asyncio.sleep(0)
    with pytest.raises(TransientApiError) as refusal:
        await made.put(-2, 1)
    assert refusal.value.retry_after_s
    go_on.set()
    assert await asyncio.gather(*waiting) == list(range(MAX_WAITING)), "in the order in which they came"
    assert await writing == -1
    assert sizes == [1, *[MAX_BATCH] * (MAX_WAITING // MAX_BATCH)]
    made.close()
