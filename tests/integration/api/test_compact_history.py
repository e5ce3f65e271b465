"""What the history keeps of container and pod reports, over HTTP, on both databases: their keys and times alone."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, text

from db.ids import new_id
from db.models import ContainerReportRow, LatestContainerReport, LatestPodReport, PodReportRow
from tests.builders import create_client

REPORTS = 20
INSIDE = 100
KEPT = {"day", "client_id", "report_key", "reported_at", "received_at"}
KINDS = [
    ("container", ContainerReportRow, LatestContainerReport),
    ("pod", PodReportRow, LatestPodReport),
]


def large_report(kind, minutes_ago):
    """A hundred containers or pods, no two of which have anything in common."""
    made = {"client_id": "web-01", "report_id": new_id()}
    made["reported_at"] = (datetime.now(UTC) - timedelta(minutes=minutes_ago)).isoformat()
    if kind == "pod":
        base = {"namespace": "shop", "phase": "Running", "ready": True}
        inside = [{**base, "name": new_id(), "uid": new_id(), "reason": new_id() * 5} for _ in range(INSIDE)]
    else:
        base = {"image": "shop:1.5", "state": "running", "created_at": "2026-01-01T00:00:00Z"}
        names = ("container_id", "container_name", "image_id", "status")
        inside = [{**base, **{name: new_id() for name in names}} for _ in range(INSIDE)]
    return {**made, f"{kind}s": inside}


def bytes_of(database, history):
    """What the history's days take with their indexes (PostgreSQL), or all of the file that is in use (SQLite)."""
    with database.read() as session:
        if database.is_sqlite:
            pages = "SELECT page_count - freelist_count FROM pragma_page_count, pragma_freelist_count"
            return session.scalar(text(pages)) * session.scalar(text("PRAGMA page_size"))
        days = "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = to_regclass(:name)"
        return int(session.scalar(text(days), {"name": history.__tablename__}))


@pytest.mark.parametrize(("kind", "history", "latest"), KINDS)
def test_a_report_costs_the_history_a_row_however_much_it_says(served, database, kind, history, latest):
    with database.write() as session:
        create_client(session, "web-01")

    def send(said):
        answer = served.operator.post(f"/release/{kind}-report", json=said)
        assert answer.status_code == 202, answer.text
        return answer.json()["duplicate"], answer.json()["newest"]

    def newest():
        with database.read() as session:
            row = session.scalars(select(latest)).one()
            return row.reported_at, getattr(row, f"{kind}s")

    assert set(history.__table__.columns.keys()) == KEPT
    reports = [large_report(kind, REPORTS - number) for number in range(REPORTS)]
    assert send(reports[0]) == (False, True)
    before = bytes_of(database, history)
    assert [send(one) for one in reports[1:]] == [(False, True)] * (REPORTS - 1)
    assert bytes_of(database, history) - before < len(json.dumps(reports[0]))

    said_last = newest()
    assert send(large_report(kind, REPORTS * 2)) == (False, False), "late, and no repetition"
    assert [send(one) for one in reports] == [(True, False)] * REPORTS
    assert newest() == said_last
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(history)) == REPORTS + 1
