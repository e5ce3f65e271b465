"""A batch of process reports, kept in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from agent.wire.processes import ProcessReport
from api.errors import Refused
from api.ingest.fleet import KnownTarget, find_client, find_target, read_clients
from api.ingest.incoming import Accepted, Incoming, Judge, Outcome
from api.schemas.reports import ReportAccepted
from db.errors import RowNotFoundError
from db.history.batches import PROCESSES, find_new, keep_reports
from db.history.days import day_of, oldest_day
from db.history.process_sets import KnownSet, SetKey, SetMemory, WantedSet, key_of, put_sets
from db.history.samples import sample_columns
from db.models import Installation


@dataclass(slots=True)
class _Report:
    """A report on its way: whose it is, the day it belongs to, the set it has."""

    incoming: Incoming[ProcessReport]
    target: KnownTarget
    day: date
    set_key: SetKey


def store_process_reports(
    session: Session,
    batch: Sequence[Incoming[ProcessReport]],
    kept_for: timedelta,
    memory: SetMemory,
    judge: Judge[ProcessReport],
) -> tuple[list[Outcome], dict[SetKey, KnownSet]]:
    """Keep the reports; answers each one's outcome, and the sets that `memory` may learn once this is committed.

    An older report than the newest is kept and changes nothing. One that may not be kept is refused by itself.
    """
    found = _find_theirs(session, batch, kept_for)
    reports = [one for one in found if isinstance(one, _Report)]
    if not reports:
        return [one for one in found if isinstance(one, Exception)], {}
    keys = [(one.day, one.incoming.report.client_id, one.incoming.report_key) for one in reports]
    is_new = dict(zip(map(id, reports), find_new(session, PROCESSES, keys), strict=True))
    fresh = [one for one in reports if is_new[id(one)]]
    is_newest, learned = _keep(session, fresh, memory, judge) if fresh else ({}, {})
    outcomes: list[Outcome] = []
    for one in found:
        if isinstance(one, Exception):
            outcomes.append(one)
        else:
            outcomes.append(
                ReportAccepted(
                    report_id=one.incoming.report_id,
                    duplicate=not is_new[id(one)],
                    newest=is_newest.get(id(one), False),
                )
            )
    return outcomes, learned


def _find_theirs(
    session: Session, batch: Sequence[Incoming[ProcessReport]], kept_for: timedelta
) -> list[_Report | Exception]:
    known = read_clients(session, (one.report.client_id for one in batch))
    found: list[_Report | Exception] = []
    for one in batch:
        try:
            client = find_client(known, one.report.client_id, one.principal, one.received_at)
            target = find_target(session, client, one.report.project_id, one.principal)
        except (Refused, RowNotFoundError) as refusal:
            found.append(refusal)
            continue
        day = report_day(one, kept_for)
        found.append(_Report(one, target, day, key_of(one.report, target.project_id, client.registered_at)))
    return found


def report_day(incoming: Incoming[Any], kept_for: timedelta) -> date:
    """The day that the report belongs to."""
    oldest = oldest_day(incoming.received_at, kept_for)
    return day_of(incoming.report.reported_at, incoming.received_at, oldest)


def _keep(
    session: Session, reports: Sequence[_Report], memory: SetMemory, judge: Judge[ProcessReport]
) -> tuple[dict[int, bool], dict[SetKey, KnownSet]]:
    sets, wanted = {}, []
    for one in reports:
        known = memory.find(one.set_key, one.day)
        if known is None:
            wanted.append(WantedSet(one.set_key, one.incoming.report, one.day))
        else:
            sets[one.set_key] = known
    learned = put_sets(session, wanted) if wanted else {}
    sets.update(learned)
    newest = keep_reports(session, PROCESSES, [_row_of(one, sets[one.set_key].id) for one in reports])
    _note_observed_versions(session, [one for one, wins in zip(reports, newest, strict=True) if wins])
    accepted = [
        Accepted(
            one.incoming.report,
            one.target.project_id,
            one.incoming.reported_at,
            one.incoming.received_at,
            wins,
            one.set_key.said,
        )
        for one, wins in zip(reports, newest, strict=True)
    ]
    judge(session, accepted)
    return dict(zip(map(id, reports), newest, strict=True)), learned


def _row_of(report: _Report, set_id: int) -> dict[str, Any]:
    incoming = report.incoming
    return {
        "set_id": set_id,
        "day": report.day,
        "client_id": incoming.report.client_id,
        "project_id": report.target.project_id,
        "report_key": incoming.report_key,
        "reported_at": incoming.reported_at,
        "received_at": incoming.received_at,
        "dropped_reports": incoming.report.dropped_reports or 0,
        **sample_columns(incoming.report.processes),
    }


def _note_observed_versions(session: Session, newest: Sequence[_Report]) -> None:
    seen = {
        one.target.installation_id: (one.incoming.report.observed_version, one.target.observed_version)
        for one in newest
        if one.target.installation_id is not None and one.incoming.report.observed_version is not None
    }
    for installation_id, (version, before) in sorted(seen.items()):
        if version != before:
            session.execute(
                update(Installation)
                .where(Installation.id == installation_id)
                .values(observed_version=version)
            )
