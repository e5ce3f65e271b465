"""Process reports into the database: each kept once, the newest of each client and project in a row of its own."""

import hashlib
from datetime import datetime
from typing import Any

from sqlalchemy import update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from agent.wire.processes import ProcessReport
from api.schemas.reports import ReportAccepted
from db.ids import new_id
from db.models import Installation, LatestProcessReport, ProcessReportRow


def report_id_of(report: ProcessReport) -> str:
    """Its own id, or one made of what it says, so that the same report twice is one."""
    return report.report_id or "sha256:" + hashlib.sha256(report.model_dump_json().encode()).hexdigest()


def store_report(session: Session, report: ProcessReport, project_id: str, now: datetime) -> ReportAccepted:
    """Keep the report; an older one than the newest is kept and changes nothing.

    One from the future counts as made when it was received: a client whose clock is ahead is still heard.
    """
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    report_id = report_id_of(report)
    values: dict[str, Any] = {
        "client_id": report.client_id,
        "project_id": project_id,
        "version": report.version,
        "observed_version": report.observed_version,
        "release_id": report.release_id,
        "processes": report.processes,
        "unmatched_rules": list(report.unmatched_rules),
        "reported_at": min(report.reported_at, now),
        "received_at": now,
    }
    history = dialect.insert(ProcessReportRow).values(id=new_id(), report_id=report_id, **values)
    kept = history.on_conflict_do_nothing(index_elements=["client_id", "report_id"])
    if session.scalar(kept.returning(ProcessReportRow.id)) is None:
        return ReportAccepted(report_id=report_id, duplicate=True, newest=False)
    latest = dialect.insert(LatestProcessReport).values(id=new_id(), **values)
    changed = {name: latest.excluded[name] for name in values if name not in ("client_id", "project_id")}
    put = latest.on_conflict_do_update(
        index_elements=["project_id", "client_id"],
        set_=changed,
        where=LatestProcessReport.reported_at <= latest.excluded.reported_at,
    )
    newest = session.scalar(put.returning(LatestProcessReport.id)) is not None
    if newest and report.observed_version is not None:
        _note_observed_version(session, project_id, report)
    return ReportAccepted(report_id=report_id, duplicate=False, newest=newest)


def _note_observed_version(session: Session, project_id: str, report: ProcessReport) -> None:
    session.execute(
        update(Installation)
        .where(Installation.project_id == project_id, Installation.client_id == report.client_id)
        .values(observed_version=report.observed_version)
    )
