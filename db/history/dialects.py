"""The few statements that SQLite and PostgreSQL spell differently."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, any_, column, func, literal, select, tuple_
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
    """`(column, column) IN (…)`; on PostgreSQL as two parameters, one for each column."""
    if not is_postgresql(session):
        return tuple_(*columns).in_(list(pairs))
    values: Sequence[Sequence[str]] = list(zip(*pairs, strict=True)) or ((), ())
    arrays = [literal(list(one), ARRAY(of.type)) for one, of in zip(values, columns, strict=True)]
    listed = func.unnest(*arrays).table_valued(column("a"), column("b")).render_derived()
    return tuple_(*columns).in_(select(listed.c.a, listed.c.b))
