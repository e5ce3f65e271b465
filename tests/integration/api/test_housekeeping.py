"""Old reports are dropped by the API itself, and days are made ahead, on both databases."""

import threading
import time
from datetime import date, timedelta

import pytest
from sqlalchemy import select, text

from db.errors import TransientDatabaseError
from db.history.days import (
    HISTORIES,
    database_now,
    delete_reports,
    drop_days,
    list_days,
    make_days,
    make_days_ahead,
)
from db.history.dropping import drop_history, keep_house
from db.models import (
    ContainerReportRow,
    LatestContainerReport,
    LatestProcessReport,
    PodReportRow,
    ProcessReportRow,
    ProcessSet,
    utc_now,
)
from tests.builders import create_fleet
from tests.served_api import serve_api

PATIENCE_S = 60
AGES = (40, 35, 31, 29, 0)


def days_ago(days):
    return (utc_now() - timedelta(days=days)).date()


@pytest.fixture
def reports(database):
    """Reports of 40, 35, 31, 29 and 0 days ago, of every kind, each with a set; the newest rows are 40 days old."""
    make_days(database, [days_ago(days) for days in AGES])
    with database.write() as session:
        project, _ = create_fleet(session, {"a": "1.4"})
        for number, days in enumerate(AGES, 1):
            at = utc_now() - timedelta(days=days)
            said = {"client_id": "a", "reported_at": at, "received_at": at}
            key = {"report_key": f"00000000-0000-7000-8000-{days:012}", "day": at.date()}
            session.add(
                ProcessSet(
                    client_id="a",
                    project_id=project.id,
                    digest=key["report_key"],
                    version="1.4",
                    unmatched_rules=[],
                    definitions=[],
                    last_day=at.date(),
                )
            )
            session.flush()
            session.add(ProcessReportRow(**said, **key, set_id=number, statuses=""))
            session.add(ContainerReportRow(**said, **key))
            session.add(PodReportRow(**said, **key))
            if days == max(AGES):
                newest = {"project_id": project.id, "set_id": number, "statuses": ""}
                session.add(LatestProcessReport(**said, **newest))
                session.add(LatestContainerReport(**said, containers=()))


def kept(database, history=ProcessReportRow):
    with database.read() as session:
        return sorted((utc_now().date() - day).days for day in session.scalars(select(history.day)))


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_oldest_are_deleted_first_within_the_limit(database, reports, history):
    before = days_ago(30)
    with database.write() as session:
        assert delete_reports(session, history, before, 2) == 2
    assert kept(database, history) == [0, 29, 31]
    with database.write() as session:
        assert delete_reports(session, history, before, 2) == 1
        assert delete_reports(session, history, before, 2) == 0
    assert kept(database, history) == [0, 29]
    assert sum(len(kept(database, other)) for other in HISTORIES) == 2 + 5 * (len(HISTORIES) - 1)


def test_rounds_go_on_until_none_is_left_or_the_end_is_near(database, reports):
    ending = threading.Event()
    ending.set()
    assert drop_history(database, days_ago(30), ending, batch=1) == 0
    ending.clear()
    assert drop_history(database, days_ago(30), ending, batch=1) == 3 * len(HISTORIES)
    assert [kept(database, history) for history in HISTORIES] == [[0, 29]] * len(HISTORIES)
    assert drop_history(database, days_ago(30), ending, batch=1) == 0


def test_sets_go_with_the_last_report_but_for_those_of_newest_ones(database, reports):
    drop_history(database, days_ago(30), threading.Event(), batch=1)
    with database.read() as session:
        ages = [(utc_now().date() - day).days for day in session.scalars(select(ProcessSet.last_day))]
    assert sorted(ages) == [0, 29, 40]


def test_served_api_drops_what_is_older_than_its_setting_and_keeps_the_newest(database, reports):
    with serve_api(database, report_history_days=33):
        deadline = time.monotonic() + PATIENCE_S
        while sum(len(kept(database, history)) for history in HISTORIES) > 3 * len(HISTORIES):
            assert time.monotonic() < deadline, "nothing was dropped"
            time.sleep(0.02)
    assert kept(database) == [0, 29, 31]
    with database.read() as session:
        assert session.scalar(select(LatestProcessReport.client_id)) == "a"
        assert session.scalar(select(LatestContainerReport.client_id)) == "a"
    for thread in threading.enumerate():
        if thread.name == "housekeeping":
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def partitions(database):
    with database.read() as session:
        return [list_days(session, table) for table in HISTORIES]


postgresql = pytest.mark.parametrize("backend", ["postgresql"], indirect=True)


@postgresql
def test_days_are_made_ahead_once(database):
    for _ in range(2):
        make_days_ahead(database, utc_now())
        assert partitions(database) == [[days_ago(0), days_ago(-1), days_ago(-2)]] * len(HISTORIES)


@postgresql
def test_housekeeping_makes_and_drops_days(database):
    make_days(database, [days_ago(31), days_ago(30)])
    assert keep_house(database, utc_now(), timedelta(days=30), threading.Event()) == len(HISTORIES)
    assert partitions(database)[0] == [days_ago(days) for days in (30, 0, -1, -2)]


@postgresql
def test_days_made_by_many_at_once_are_there_once(database):
    days = [date(2030, 1, number) for number in range(1, 6)]
    failures = []

    def make():
        try:
            make_days(database, days)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert failures == []
    assert partitions(database) == [days] * len(HISTORIES)


@postgresql
def test_making_a_day_waits_for_no_writer_of_another(database, reports):
    with database.write() as session:
        session.execute(text("DELETE FROM process_reports WHERE client_id = 'nobody'"))
        done = threading.Event()
        thread = threading.Thread(target=lambda: (make_days(database, [date(2031, 1, 1)]), done.set()))
        thread.start()
        assert done.wait(PATIENCE_S)
    thread.join()


@postgresql
def test_a_day_that_is_being_read_is_dropped_another_time(database, reports):
    with database.read() as session:
        session.execute(text("SELECT count(*) FROM process_reports")).scalar()
        with pytest.raises(TransientDatabaseError, match="lock"):
            drop_days(database, days_ago(30))
    assert drop_days(database, days_ago(30)) == 3 * len(HISTORIES)


@postgresql
def test_one_clock_that_is_ahead_costs_no_history(database, reports):
    far = utc_now() + timedelta(days=400)
    assert abs(database_now(database, far) - utc_now()) < timedelta(hours=1)
    keep_house(database, far, timedelta(days=60), threading.Event())
    assert kept(database) == [0, 29, 31, 35, 40]
