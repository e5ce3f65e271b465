"""Pages by key: a cursor is the last row's key, so that rows which are added meanwhile shift nothing."""

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

Row = TypeVar("Row")

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000


def page_of(
    session: Session,
    query: Select[Row],
    key: InstrumentedAttribute[str],
    *,
    limit: int | None = DEFAULT_LIMIT,
    cursor: str | None = None,
    newest_first: bool = False,
) -> Sequence[Row]:
    """The rows after `cursor` in the order of `key`; `limit` None means all."""
    if cursor is not None:
        query = query.where(key < cursor if newest_first else key > cursor)
    query = query.order_by(key.desc() if newest_first else key.asc())
    return session.scalars(query if limit is None else query.limit(limit)).all()


def escaped(value: Any) -> str:
    """The value as it is quoted in messages, at most 100 characters."""
    return repr(str(value)[:100])
