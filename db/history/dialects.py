"""The few statements that SQLite and PostgreSQL spell differently."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, and_, any_, literal, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session


def is_postgresql(session: Session) -> bool:
    """Whether the session's database is PostgreSQL."""
    return session.get_bind().dialect.name == "postgresql"


def insert_into(session: Session, table: Any) -> Any:
    """An INSERT that knows ON CONFLICT, for the session's database."""
    return (postgresql if is_postgresql(session) else sqlite).insert(table)


def is_one_of(session: Session, column: Any, values: Collection[str]) -> ColumnElement[bool]:
    """`column IN (…)`; on PostgreSQL as one parameter, for psycopg reads a statement with very many anew each time."""
    if is_postgresql(session):
        condition: ColumnElement[bool] = column == any_(literal(list(values), ARRAY(column.type)))
        return condition
    chosen: ColumnElement[bool] = column.in_(values)
    return chosen


def is_pair_of(
    session: Session, columns: tuple[Any, Any], pairs: Collection[tuple[str, str]]
) -> ColumnElement[bool]:
    """`(column, column) IN (…)`; on PostgreSQL each column among its own values, as two parameters.

    There it answers more pairs than were asked for: of these values, but put together otherwise. Callers look theirs up. A
    join with the pairs would be exact, and is planned badly: its prepared plan reads a whole project for each pair.
    """
    if not is_postgresql(session):
        return tuple_(*columns).in_(list(pairs))
    first, second = ({one[place] for one in pairs} for place in (0, 1))
    return and_(is_one_of(session, columns[0], first), is_one_of(session, columns[1], second))
