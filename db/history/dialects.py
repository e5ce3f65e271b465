"""The few statements that SQLite and PostgreSQL spell differently."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, any_, literal
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
