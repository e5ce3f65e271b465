"""Reports in batches, on both databases: each kept once, whoever writes at the same time and whatever breaks."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, text

from agent.wire.processes import ProcessReport
from api.auth import Principal
from api.errors import Refused
from api.ingest.incoming import Incoming
from api.ingest.writing import Ingest
from db.errors import RowNotFoundError
from db.history.days import list_days
from db.ids import new_id
from db.models import Client, LatestProcessReport, ProcessReportRow, ProcessSet
from db.queries.reports import list_history, list_latest_reports
from db.secrets import sha256_hex
from db.session import open_database
from tests.builders import create_fleet

OPERATOR = Principal("operator", "operator")
MONTH = timedelta(days=30)
PATIENCE_S = 60


@pytest.fixture
def project(database):
    with database.write() as session:
        return create_fleet(session, {f"c{number}": "1.4" for number in range(5)})[0].id


@pytest.fixture
def ingest(database):
    made = Ingest(database, MONTH)
    yield made
    made.close()


def now():
    return datetime.now(UTC)


def process(pid=100, **fields):
    base = {"pid": pid, "name": "shop", "start_time": "2026-01-01T00:00:00Z", "status": "sleeping"}
    return {**base, "matched_by": "shop", **fields}


def incoming(project, client="c0", *, received=None, caller=OPERATOR, **fields):
    received = received or now()
    said = {"client_id": client, "project_id": project, "version": "1.4", "processes": [process()]}
    said |= {"reported_at": received, "report_id": new_id(), **fields}
    return Incoming(ProcessReport.model_validate(said), caller, received)


def flags(outcomes):
    return [(one.duplicate, one.newest) for one in outcomes]


def count(database, table=ProcessReportRow):
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table))


def latest(database, project):
    with database.read() as session:
        return {one.client_id: one for one in list_latest_reports(session, project)}


def test_a_batch_is_judged_as_if_its_reports_had_come_one_by_one(database, project, ingest):
    at = now()
    batch = [
        incoming(project, reported_at=at - timedelta(seconds=age), report_id=name)
        for age, name in ((30, "a"), (40, "b"), (20, "c"), (20, "c"), (20, "d"))
    ]
    newest, older, repeated = (False, True), (False, False), (True, False)
    assert flags(ingest.write_processes(batch)) == [newest, older, newest, repeated, newest]
    assert flags(ingest.write_processes(batch)) == [repeated] * 5
    assert count(database) == 4
    assert latest(database, project)["c0"].reported_at == at - timedelta(seconds=20)


def test_the_judge_gets_what_is_kept_within_the_transaction(database, project):
    seen = []

    def judge(session, accepted):
        seen.append([(one.report.report_id, one.newest) for one in accepted])
        assert session.scalar(select(func.count()).select_from(LatestProcessReport)) == 1
        if any(one.report.report_id == "bad" for one in accepted):
            raise ValueError("cannot judge")

    ingest = Ingest(database, MONTH, judge)
    at = now()
    old = incoming(project, report_id="old", reported_at=at - timedelta(minutes=1))
    ingest.write_processes([incoming(project, report_id="a", reported_at=at), old])
    with pytest.raises(ValueError):
        ingest.write_processes([incoming(project, report_id="bad")])
    assert seen == [[("a", True), ("old", False)], [("bad", True)]]
    assert count(database) == 2
    ingest.close()


async def put_all(ingest, reports):
    return await asyncio.gather(*(ingest.put(one, 1000) for one in reports), return_exceptions=True)


def test_one_that_breaks_its_batch_takes_no_other_along(database, project):
    def judge(_session, accepted):
        if any(one.report.report_id == "poison" for one in accepted):
            raise ValueError("cannot judge")

    ingest = Ingest(database, MONTH, judge)
    reports = [incoming(project, f"c{number % 5}") for number in range(20)]
    reports.insert(7, incoming(project, report_id="poison"))
    outcomes = asyncio.run(put_all(ingest, reports))
    assert isinstance(outcomes.pop(7), ValueError)
    assert [one.duplicate for one in outcomes] == [False] * 20
    assert count(database) == 20
    ingest.close()


def test_refusals_are_each_its_own(database, project, ingest):
    stranger = Principal("agent:c1", "agent", "c1", sha256_hex("old"))
    reports = [
        incoming(project),
        incoming(project, "nobody"),
        incoming("nothing"),
        incoming(project, "c1", caller=stranger),
        incoming(project, "c0", caller=stranger),
        incoming("shop"),
    ]
    outcomes = asyncio.run(put_all(ingest, reports))
    assert [type(one) for one in outcomes[1:5]] == [RowNotFoundError, RowNotFoundError, Refused, Refused]
    assert [one.status for one in outcomes[3:5]] == [401, 403]
    assert count(database) == 2


def test_a_token_is_looked_at_again_by_the_transaction(database, project, ingest):
    with database.write() as session:
        session.get_one(Client, "c1").report_token_sha256 = sha256_hex("token")
    caller = Principal("agent:c1", "agent", "c1", sha256_hex("token"))
    (kept,) = ingest.write_processes([incoming(project, "c1", caller=caller)])
    assert kept.newest
    with database.write() as session:
        client = session.get_one(Client, "c1")
        client.report_token_sha256, client.old_report_token_sha256 = sha256_hex("new"), sha256_hex("token")
        client.old_report_token_until = now() + timedelta(hours=1)
    assert ingest.write_processes([incoming(project, "c1", caller=caller)])[0].newest
    with database.write() as session:
        session.get_one(Client, "c1").old_report_token_until = now() - timedelta(seconds=1)
    (refused,) = ingest.write_processes([incoming(project, "c1", caller=caller)])
    assert refused.status == 401


def test_what_stays_the_same_is_said_once_and_comes_back_whole(database, project, ingest):
    first = process(cpu_percent=1.5, memory_mb=123.456789, ports=[80], survives_agent_stop=True)
    batch = [
        incoming(project, processes=[{**first, "cpu_percent": cpu}, process(7, status="zombie")])
        for cpu in (0.1, 1e300, 1e-300, None)
    ]
    ingest.write_processes(batch)
    assert count(database, ProcessSet) == 1
    with database.read() as session:
        today = now().date()
        history = list(list_history(session, "c0", project, today - timedelta(days=1), today))
    assert next(one.processes[0]["cpu_percent"] for one in history) == pytest.approx(0.1)
    newest = latest(database, project)["c0"]
    sent = batch[-1].report
    assert type(sent.processes[0]).model_validate(newest.processes[0]) == sent.processes[0]
    assert [one["status"] for one in newest.processes] == ["sleeping", "zombie"]
    ingest.write_processes([incoming(project, processes=[{**first, "pid": 101}])])
    ingest.write_processes([incoming(project, version="1.5", processes=[first])])
    assert count(database, ProcessSet) == 3


def test_a_client_that_is_registered_anew_gets_sets_of_its_own(database, project, ingest):
    ingest.write_processes([incoming(project)])
    with database.write() as session:
        client = session.get_one(Client, "c0")
        client.created_at += timedelta(seconds=5)
        session.execute(text("DELETE FROM process_sets"))
    ingest.write_processes([incoming(project)])
    assert latest(database, project)["c0"].processes[0]["pid"] == 100


def test_a_repetition_after_midnight_is_one(database, project, ingest):
    midnight = datetime.combine(now().date(), datetime.min.time(), UTC)
    before = midnight - timedelta(seconds=1)
    said = {"report_id": "r-1", "reported_at": before}
    (first,) = ingest.write_processes([incoming(project, received=before, **said)])
    (again,) = ingest.write_processes([incoming(project, received=midnight + timedelta(seconds=1), **said)])
    assert (first.duplicate, again.duplicate) == (False, True)
    after = midnight + timedelta(seconds=2)
    assert ingest.write_processes([incoming(project, received=after)])[0].newest
    with database.read() as session:
        assert len(list_days(session, ProcessReportRow)) >= 2
        history = list(list_history(session, "c0", project, before.date(), midnight.date()))
    assert [one.reported_at for one in history] == [before, after]


@pytest.mark.parametrize("years", [-60, 60])
def test_a_clients_clock_that_jumps_makes_no_day_of_its_own(database, project, ingest, years):
    at = now()
    strange = at + timedelta(days=365 * years)
    ingest.write_processes([incoming(project, reported_at=at - timedelta(seconds=1))])
    said = {"report_id": "r-1", "reported_at": strange}
    first, again = ingest.write_processes([incoming(project, **said), incoming(project, **said)])
    assert (first.duplicate, first.newest, again.duplicate) == (False, years > 0, True)
    assert flags(ingest.write_processes([incoming(project, **said)])) == [(True, False)]
    assert ingest.write_processes([incoming(project)])[0].newest
    with database.read() as session:
        days = list_days(session, ProcessReportRow)
    assert all(at.date() - MONTH <= day <= at.date() + timedelta(days=1) for day in days)


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_a_day_that_somebody_dropped_is_made_again(database, project, ingest):
    asyncio.run(put_all(ingest, [incoming(project)]))
    with database.write() as session:
        session.execute(text(f"DROP TABLE process_reports_{now():%Y%m%d}"))
    (outcome,) = asyncio.run(put_all(ingest, [incoming(project)]))
    assert outcome.newest
    assert count(database) == 1


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_processes_that_write_the_same_at_once_keep_each_report_once(database, database_url, project):
    """Four writers, each with connections and a memory of its own, and the same 200 reports in another order."""
    made = [incoming(project, f"c{number % 5}") for number in range(200)]
    gate = threading.Barrier(4)

    def write(shift):
        mine = open_database(database_url)
        ingest = Ingest(mine, MONTH)
        turned = made[shift:] + made[:shift]
        gate.wait(PATIENCE_S)
        outcomes = []
        for first in range(0, len(turned), 20):
            outcomes += asyncio.run(put_all(ingest, turned[first : first + 20]))
        ingest.close()
        mine.close()
        return outcomes

    with ThreadPoolExecutor(4) as pool:
        found = [one for outcomes in pool.map(write, (0, 10, 50, 55)) for one in outcomes]
    kept = [one for one in found if not isinstance(one, Exception)]
    # Who was raced twice over is told to ask again; nothing may be told twice that it is new.
    assert count(database) == 200
    assert len({one.report_id for one in kept if not one.duplicate}) == sum(not one.duplicate for one in kept)
    newest = {
        f"c{number}": max(one.reported_at for one in made if one.report.client_id == f"c{number}")
        for number in range(5)
    }
    assert {name: one.reported_at for name, one in latest(database, project).items()} == newest
