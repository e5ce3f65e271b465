"""Freezes, and which of them stop a deployment now."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from db.errors import RowNotFoundError
from db.ids import is_id
from db.models import Freeze
from db.queries.paging import escaped, page_of


def list_freezes(
    session: Session, now: datetime, *, limit: int | None = 100, cursor: str | None = None
) -> Sequence[Freeze]:
    """Those that last, newest first; the cursor is the last one's id."""
    return page_of(
        session, select(Freeze).where(_lasts(now)), Freeze.id, limit=limit, cursor=cursor, newest_first=True
    )


def find_freeze(
    session: Session, project_id: str, environment_ids: Collection[str], now: datetime
) -> Freeze | None:
    """The oldest freeze that stops deployments of this project to any of these environments, or None."""
    query = select(Freeze).where(
        _lasts(now),
        or_(Freeze.project_id.is_(None), Freeze.project_id == project_id),
        or_(Freeze.environment_id.is_(None), Freeze.environment_id.in_(sorted(environment_ids))),
    )
    return session.scalars(query.order_by(Freeze.id).limit(1)).first()


def get_freeze(session: Session, freeze_id: str) -> Freeze:
    """The freeze with this id. Raises RowNotFoundError."""
    found = session.get(Freeze, freeze_id.lower()) if is_id(freeze_id) else None
    if found is None:
        raise RowNotFoundError(f"there is no freeze {escaped(freeze_id)}")
    return found


def _lasts(now: datetime) -> ColumnElement[bool]:
    return or_(Freeze.until.is_(None), Freeze.until > now)
