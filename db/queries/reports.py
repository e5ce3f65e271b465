"""Process reports as they are read: the newest ones, and the history of a client."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import orjson
from sqlalchemy import Row, Text, cast, select
from sqlalchemy.orm import Session

from db.history.days import list_days
from db.history.process_sets import SAMPLED
from db.history.samples import process_documents
from db.models import LatestProcessReport, ProcessReportRow, ProcessSet

_COLUMNS = ("reported_at", "received_at", "statuses", *SAMPLED)
_SET_COLUMNS = (
    ProcessSet.project_id,
    ProcessSet.version,
    ProcessSet.observed_version,
    ProcessSet.release_id,
    # As text, read by orjson: most of a fleet's report is the definitions.
    cast(ProcessSet.unmatched_rules, Text).label("unmatched_rules"),
    cast(ProcessSet.definitions, Text).label("definitions"),
)


@dataclass(frozen=True, slots=True)
class StoredReport:
    """A report from the database. `processes` are ProcessInfo documents."""

    client_id: str
    project_id: str
    version: str
    observed_version: str | None
    release_id: str | None
    unmatched_rules: list[str]
    processes: list[dict[str, Any]]
    reported_at: datetime
    received_at: datetime


def list_latest_reports(session: Session, project_id: str) -> list[StoredReport]:
    """The newest report of each client that made one for the project, by client."""
    table = LatestProcessReport
    query = (
        select(table.client_id, *(getattr(table, name) for name in _COLUMNS), *_SET_COLUMNS)
        .join(ProcessSet, ProcessSet.id == table.set_id)
        .where(table.project_id == project_id)
        .order_by(table.client_id)
    )
    return [_stored(row) for row in session.execute(query).all()]


def list_history(
    session: Session, client_id: str, project_id: str, since: date, until: date
) -> Iterator[StoredReport]:
    """A client's reports of a project, of the days from `since` to `until` (both included), the oldest first."""
    table = ProcessReportRow
    # Day by day: the primary key then leads straight to the client's reports, in that day's partition.
    for day in (one for one in list_days(session, table) if since <= one <= until):
        query = (
            select(table.client_id, *(getattr(table, name) for name in _COLUMNS), *_SET_COLUMNS)
            .join(ProcessSet, ProcessSet.id == table.set_id)
            .where(table.day == day, table.client_id == client_id, ProcessSet.project_id == project_id)
            .order_by(table.reported_at)
        )
        yield from map(_stored, session.execute(query).all())


def _stored(row: Row[*tuple[Any, ...]]) -> StoredReport:
    client_id, reported_at, received_at, statuses, cpu, memory, share, *of_its_set = row
    project_id, version, observed_version, release_id, unmatched_rules, definitions = of_its_set
    return StoredReport(
        client_id=client_id,
        project_id=project_id,
        version=version,
        observed_version=observed_version,
        release_id=release_id,
        unmatched_rules=orjson.loads(unmatched_rules),
        processes=process_documents(orjson.loads(definitions), statuses, cpu, memory, share),
        reported_at=reported_at,
        received_at=received_at,
    )
