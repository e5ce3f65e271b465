"""A batch of reports of all that a client has of a kind (containers, pods), kept in one transaction."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from api.errors import Refused
from api.ingest.fleet import find_client, read_clients
from api.ingest.incoming import Accepted, Incoming, Judge, Outcome
from api.schemas.reports import ReportAccepted
from db.errors import RowNotFoundError
from db.history.batches import Kind, find_new, keep_reports

RowOf = Callable[[Any, timedelta], dict[str, Any]]
"""An incoming report, and how long history is kept: a row for both tables."""


def store_whole_reports(
    session: Session,
    batch: Sequence[Incoming[Any]],
    kept_for: timedelta,
    judge: Judge[Any],
    *,
    kind: Kind,
    row_of: RowOf,
) -> list[Outcome]:
    """Keep the reports: which project something is, is told when it is asked for. Answers each one's outcome."""
    refused = _find_refused(session, batch)
    rows = {number: row_of(one, kept_for) for number, one in enumerate(batch) if number not in refused}
    keys = [(row["day"], row["client_id"], row["report_key"]) for row in rows.values()]
    is_new = dict(zip(rows, find_new(session, kind, keys), strict=True)) if rows else {}
    fresh = [number for number in rows if is_new[number]]
    is_newest = {}
    if fresh:
        newest = keep_reports(session, kind, [rows[number] for number in fresh])
        is_newest = dict(zip(fresh, newest, strict=True))
        judge(session, [_accepted(batch[number], is_newest[number]) for number in fresh])
    return [
        refused.get(number)
        or ReportAccepted(
            report_id=one.report_id, duplicate=not is_new[number], newest=is_newest.get(number, False)
        )
        for number, one in enumerate(batch)
    ]


def _find_refused(session: Session, batch: Sequence[Incoming[Any]]) -> dict[int, Exception]:
    known = read_clients(session, (one.report.client_id for one in batch))
    refused: dict[int, Exception] = {}
    for number, one in enumerate(batch):
        try:
            find_client(known, one.report.client_id, one.principal, one.received_at)
        except (Refused, RowNotFoundError) as refusal:
            refused[number] = refusal
    return refused


def _accepted(incoming: Incoming[Any], newest: bool) -> Accepted[Any]:
    return Accepted(incoming.report, None, incoming.reported_at, incoming.received_at, newest)
