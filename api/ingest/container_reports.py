"""A batch of container reports, kept in one transaction."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from agent.wire.containers import ContainerReport
from api.errors import Refused
from api.ingest.fleet import find_client, read_clients
from api.ingest.incoming import Accepted, Incoming, Judge, Outcome
from api.ingest.process_reports import report_day
from api.schemas.reports import ReportAccepted
from db.errors import RowNotFoundError
from db.history.batches import CONTAINERS, find_new, keep_reports


def store_container_reports(
    session: Session,
    batch: Sequence[Incoming[ContainerReport]],
    kept_for: timedelta,
    judge: Judge[ContainerReport],
) -> list[Outcome]:
    """Keep the reports, of all that their clients' engines have: which project a container is, is told when it is
    asked for. Answers each one's outcome.
    """
    refused = _find_refused(session, batch)
    rows = {number: _row_of(one, kept_for) for number, one in enumerate(batch) if number not in refused}
    keys = [(row["day"], row["client_id"], row["report_key"]) for row in rows.values()]
    is_new = dict(zip(rows, find_new(session, CONTAINERS, keys), strict=True)) if rows else {}
    fresh = [number for number in rows if is_new[number]]
    is_newest = {}
    if fresh:
        newest = keep_reports(session, CONTAINERS, [rows[number] for number in fresh])
        is_newest = dict(zip(fresh, newest, strict=True))
        judge(session, [_accepted(batch[number], is_newest[number]) for number in fresh])
    return [
        refused.get(number)
        or ReportAccepted(
            report_id=one.report_id, duplicate=not is_new[number], newest=is_newest.get(number, False)
        )
        for number, one in enumerate(batch)
    ]


def _find_refused(session: Session, batch: Sequence[Incoming[ContainerReport]]) -> dict[int, Exception]:
    known = read_clients(session, (one.report.client_id for one in batch))
    refused: dict[int, Exception] = {}
    for number, one in enumerate(batch):
        try:
            find_client(known, one.report.client_id, one.principal, one.received_at)
        except (Refused, RowNotFoundError) as refusal:
            refused[number] = refusal
    return refused


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
        "dropped_reports": report.dropped_reports or 0,
    }


def _accepted(incoming: Incoming[ContainerReport], newest: bool) -> Accepted[ContainerReport]:
    return Accepted(incoming.report, None, incoming.reported_at, incoming.received_at, newest)
