"""Reports into the database: each kept once, the newest of its kind in a row of its own."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from agent.wire.containers import ContainerReport
from agent.wire.processes import ProcessReport
from api.schemas.reports import ReportAccepted
from db.ids import new_id
from db.models import (
    ContainerReportRow,
    Installation,
    LatestContainerReport,
    LatestProcessReport,
    ProcessReportRow,
)


def report_id_of(report: ProcessReport | ContainerReport) -> str:
    """Its own id, or one made of what it says, so that the same report twice is one."""
    return report.report_id or "sha256:" + hashlib.sha256(report.model_dump_json().encode()).hexdigest()


def store_process_report(
    session: Session, report: ProcessReport, project_id: str, now: datetime
) -> ReportAccepted:
    """Keep the report; an older one than the newest is kept and changes nothing.

    One from the future counts as made when it was received: a client whose clock is ahead is still heard.
    """
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
    report_id = report_id_of(report)
    if not _keep_history(session, ProcessReportRow, report_id, values):
        return ReportAccepted(report_id=report_id, duplicate=True, newest=False)
    latest = {"id": new_id(), **values}
    newest = _put_newest(session, LatestProcessReport, ("project_id", "client_id"), latest)
    if newest and report.observed_version is not None:
        _note_observed_version(session, project_id, report)
    return ReportAccepted(report_id=report_id, duplicate=False, newest=newest)


def store_container_report(session: Session, report: ContainerReport, now: datetime) -> ReportAccepted:
    """The same, for all that a client's engine has: which project a container is, is told when it is asked for."""
    values: dict[str, Any] = {
        "client_id": report.client_id,
        "docker_version": report.docker_version,
        "containers": report.containers,
        "reported_at": min(report.reported_at, now),
        "received_at": now,
    }
    report_id = report_id_of(report)
    if not _keep_history(session, ContainerReportRow, report_id, values):
        return ReportAccepted(report_id=report_id, duplicate=True, newest=False)
    newest = _put_newest(session, LatestContainerReport, ("client_id",), values)
    return ReportAccepted(report_id=report_id, duplicate=False, newest=newest)


def _keep_history(session: Session, table: Any, report_id: str, values: dict[str, Any]) -> bool:
    """False where the client's report of that id is there already."""
    insert = _dialect(session).insert(table).values(id=new_id(), report_id=report_id, **values)
    kept = insert.on_conflict_do_nothing(index_elements=["client_id", "report_id"])
    return session.scalar(kept.returning(table.id)) is not None


def _put_newest(session: Session, table: Any, keys: Sequence[str], values: dict[str, Any]) -> bool:
    """False where a newer one is there."""
    latest = _dialect(session).insert(table).values(**values)
    changed = {name: latest.excluded[name] for name in values if name not in (*keys, "id")}
    put = latest.on_conflict_do_update(
        index_elements=list(keys), set_=changed, where=table.reported_at <= latest.excluded.reported_at
    )
    return session.scalar(put.returning(table.client_id)) is not None


def _dialect(session: Session) -> Any:
    return postgresql if session.get_bind().dialect.name == "postgresql" else sqlite


def _note_observed_version(session: Session, project_id: str, report: ProcessReport) -> None:
    session.execute(
        update(Installation)
        .where(Installation.project_id == project_id, Installation.client_id == report.client_id)
        .values(observed_version=report.observed_version)
    )
