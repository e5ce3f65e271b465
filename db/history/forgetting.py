"""The history of what is deleted: it has no foreign keys that would take it along."""

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from db.history.days import HISTORIES, list_days
from db.models import ProcessReportRow, ProcessSet


def forget_client(session: Session, client_id: str) -> None:
    """Delete a client's reports."""
    for table in HISTORIES:
        days = list_days(session, table)
        session.execute(delete(table).where(table.day.in_(days), table.client_id == client_id))


def forget_project(session: Session, project_id: str) -> None:
    """Delete a project's process reports."""
    sets = session.execute(
        select(ProcessSet.client_id, ProcessSet.id).where(ProcessSet.project_id == project_id)
    ).all()
    if not sets:
        return
    table = ProcessReportRow
    session.execute(
        delete(table).where(
            table.day.in_(list_days(session, table)),
            table.client_id.in_({client_id for client_id, _ in sets}),
            table.set_id.in_(select(ProcessSet.id).where(ProcessSet.project_id == project_id)),
        )
    )
