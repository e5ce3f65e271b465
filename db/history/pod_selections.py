"""Selections of pods: what tells one from another, and an end for those that nobody reports any more."""

import hashlib
from datetime import UTC, date, datetime, time

from sqlalchemy import delete, select, tuple_
from sqlalchemy.orm import Session

from db.ids import as_id
from db.models import LatestPodReport


def selection_key(namespace: str | None, label_selector: str | None) -> str:
    """128 bits of the selection's hash, in a UUID's shape."""
    said = f"{namespace or ''}\x00{label_selector or ''}"
    return as_id(hashlib.blake2b(said.encode(), digest_size=16).digest())


def drop_old_selections(session: Session, before: date, limit: int) -> int:
    """Delete the newest reports of selections that nobody has reported since that day began, `limit` at most; answers how many."""
    table = LatestPodReport
    began = datetime.combine(before, time(), UTC)
    whose = (table.client_id, table.selection_key)
    old = session.execute(select(*whose).where(table.received_at < began).limit(limit)).all()
    if old:
        # Asked once more: one of them may have been reported again meanwhile.
        session.execute(
            delete(table).where(tuple_(*whose).in_([tuple(row) for row in old]), table.received_at < began)
        )
    return len(old)
