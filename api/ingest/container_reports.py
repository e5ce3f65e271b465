"""A batch of container reports, kept in one transaction."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from agent.wire.containers import ContainerReport
from api.ingest.incoming import Incoming, Judge, Outcome
from api.ingest.process_reports import report_day
from api.ingest.whole_reports import store_whole_reports
from db.history.batches import CONTAINERS


def store_container_reports(
    session: Session,
    batch: Sequence[Incoming[ContainerReport]],
    kept_for: timedelta,
    judge: Judge[ContainerReport],
) -> list[Outcome]:
    """Keep the reports, of all that their clients' engines have. Answers each one's outcome."""
    return store_whole_reports(session, batch, kept_for, judge, kind=CONTAINERS, row_of=_row_of)


def _row_of(incoming: Incoming[ContainerReport], kept_for: timedelta) -> dict[str, Any]:
    report = incoming.report
    return {
        "day": report_day(incoming, kept_for),
        "client_id": report.client_id,
        "report_key": incoming.report_key,
        "docker_version": report.docker_version,
        "containers": report.containers,
        "reported_at": incoming.reported_at,
        "received_at": incoming.received_at,
        "truncated": report.truncated,
        "dropped_reports": report.dropped_reports or 0,
    }
