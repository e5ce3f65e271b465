"""The history of what is deleted: it has no foreign keys that would take it along.

Whoever keeps reports holds a lock that they share, from before they look who is there; whoever forgets waits for them
and keeps the next out: a report that is on its way while its client is deleted would stay for ever. SQLite has one
writer at a time anyway.
https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session

from db.history.days import HISTORIES, list_days
from db.history.dialects import is_postgresql
from db.models import ProcessReportRow, ProcessSet
from db.rows import read_rows

_ADVISORY_LOCK = 0x686F6973743033  # "hoist03"
_SHARE = text("SELECT pg_advisory_xact_lock_shared(:key)")
_EXCLUDE = text("SELECT pg_advisory_xact_lock(:key)")


def keep_from_forgetting(session: Session) -> None:
    """To the end of the transaction, nobody whose reports it keeps is deleted."""
    if is_postgresql(session):
        read_rows(session, _SHARE, {"key": _ADVISORY_LOCK})


def _wait_for_keepers(session: Session) -> None:
    if is_postgresql(session):
        session.execute(_EXCLUDE, {"key": _ADVISORY_LOCK})


def forget_client(session: Session, client_id: str) -> None:
    """Delete a client's reports. To be called before anything of the client's is changed: who keeps reports may hold it."""
    _wait_for_keepers(session)
    for table in HISTORIES:
        days = list_days(session, table)
        session.execute(delete(table).where(table.day.in_(days), table.client_id == client_id))


def forget_project(session: Session, project_id: str) -> None:
    """Delete a project's process reports. To be called before anything of the project's is changed."""
    _wait_for_keepers(session)
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
