"""Old process reports are dropped by the API itself, on both databases."""

import threading
import time
from datetime import timedelta

import pytest
from sqlalchemy import select

from api.housekeeping import drop_history
from db.ids import new_id
from db.models import (
    ContainerReportRow,
    LatestContainerReport,
    LatestProcessReport,
    ProcessReportRow,
    utc_now,
)
from db.queries.reports import drop_old_reports
from tests.builders import create_fleet
from tests.served_api import serve_api

PATIENCE_S = 60


@pytest.fixture
def reports(database):
    """Reports of 40, 35, 31, 29 and 0 days ago, of both kinds; the newest rows are 40 days old."""
    with database.write() as session:
        project, _ = create_fleet(session, {"a": "1.4"})
        fields = {"project_id": project.id, "client_id": "a", "version": "1.4", "processes": ()}
        containers = {"client_id": "a", "containers": ()}
        for days in (40, 35, 31, 29, 0):
            at = utc_now() - timedelta(days=days)
            said = {"report_id": f"days-{days}", "reported_at": at, "received_at": at}
            session.add(ProcessReportRow(id=new_id(), **said, **fields))
            session.add(ContainerReportRow(id=new_id(), **said, **containers))
        at = utc_now() - timedelta(days=40)
        session.add(LatestProcessReport(id=new_id(), reported_at=at, received_at=at, **fields))
        session.add(LatestContainerReport(reported_at=at, received_at=at, **containers))


def kept(database, history=ProcessReportRow):
    with database.read() as session:
        return sorted(session.scalars(select(history.report_id)))


@pytest.mark.parametrize(
    ("history", "other"), [(ProcessReportRow, ContainerReportRow), (ContainerReportRow, ProcessReportRow)]
)
def test_oldest_are_dropped_first_within_the_limit(database, reports, history, other):
    before = utc_now() - timedelta(days=30)
    with database.write() as session:
        assert drop_old_reports(session, history, before, 2) == 2
    assert kept(database, history) == ["days-0", "days-29", "days-31"]
    with database.write() as session:
        assert drop_old_reports(session, history, before, 2) == 1
        assert drop_old_reports(session, history, before, 2) == 0
    assert kept(database, history) == ["days-0", "days-29"]
    assert len(kept(database, other)) == 5


def test_batches_go_on_until_none_is_left_or_the_end_is_near(database, reports):
    ending = threading.Event()
    ending.set()
    assert drop_history(database, utc_now() - timedelta(days=30), ending, batch=1) == 0
    ending.clear()
    assert drop_history(database, utc_now() - timedelta(days=30), ending, batch=1) == 6
    assert kept(database) == kept(database, ContainerReportRow) == ["days-0", "days-29"]


def test_served_api_drops_what_is_older_than_its_setting_and_keeps_the_newest(database, reports):
    with serve_api(database, report_history_days=33):
        deadline = time.monotonic() + PATIENCE_S
        while len(kept(database)) + len(kept(database, ContainerReportRow)) > 6:
            assert time.monotonic() < deadline, "nothing was dropped"
            time.sleep(0.02)
    assert kept(database) == ["days-0", "days-29", "days-31"]
    with database.read() as session:
        assert session.scalar(select(LatestProcessReport.client_id)) == "a"
        assert session.scalar(select(LatestContainerReport.client_id)) == "a"
    for thread in threading.enumerate():
        if thread.name == "housekeeping":
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
