"""The history of reports: dropped by age, a bounded number at a time."""

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from db.models import ContainerReportRow, ProcessReportRow

History = type[ProcessReportRow] | type[ContainerReportRow]


def drop_old_reports(session: Session, table: History, before: datetime, limit: int) -> int:
    """Delete reports received before then, the oldest first, `limit` at most; answers how many.

    What another transaction has locked is passed over. The newest report of each kind is kept elsewhere
    (`latest_…_reports`) and stays, however old.
    """
    old = (
        select(table.id)
        .where(table.received_at < before)
        .order_by(table.received_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = session.scalars(old).all()
    if ids:
        session.execute(delete(table).where(table.id.in_(ids)))
    return len(ids)
