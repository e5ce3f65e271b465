"""The history of process reports: dropped by age, a bounded number at a time."""

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from db.models import ProcessReportRow


def drop_old_reports(session: Session, before: datetime, limit: int) -> int:
    """Delete reports received before then, the oldest first, `limit` at most; answers how many.

    What another transaction has locked is passed over. The newest report of each client and project is kept elsewhere
    (`latest_process_reports`) and stays, however old.
    """
    old = (
        select(ProcessReportRow.id)
        .where(ProcessReportRow.received_at < before)
        .order_by(ProcessReportRow.received_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = session.scalars(old).all()
    if ids:
        session.execute(delete(ProcessReportRow).where(ProcessReportRow.id.in_(ids)))
    return len(ids)
