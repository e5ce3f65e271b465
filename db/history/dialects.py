"""The few statements that SQLite and PostgreSQL spell differently."""

import json
from collections.abc import Collection
from typing import Any

from sqlalchemy import BindParameter, Boolean, ColumnElement, Dialect, bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType, TypeDecorator, TypeEngine


def is_postgresql(session: Session) -> bool:
    """Whether the session's database is PostgreSQL."""
    return session.get_bind().dialect.name == "postgresql"


def insert_into(session: Session, table: Any) -> Any:
    """An INSERT that knows ON CONFLICT, for the session's database."""
    return (postgresql if is_postgresql(session) else sqlite).insert(table)


def is_one_of(column: Any, values: Collection[str] | str) -> ColumnElement[bool]:
    """`column IN (…)` with all values in one parameter, however many they are; `values` a word: the parameter's name.

    With its parameter named, a statement can be made once and is neither built nor read anew for each number of values.
    """
    kind = _Values(column.type)
    if isinstance(values, str):
        return _IsOneOf(column, bindparam(values, type_=kind))
    return _IsOneOf(column, bindparam(None, values, type_=kind, unique=True))


def array_of(values: Collection[str]) -> str:
    """An array as PostgreSQL reads it from text; psycopg, which looks at each value, takes ten times as long.

    https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
    """
    said = "".join(values)
    if "\\" in said or '"' in said:  # most have none
        values = [one.replace("\\", r"\\").replace('"', r"\"") for one in values]
    inside = '","'.join(values)
    return '{"' + inside + '"}' if values else "{}"


class _Values(TypeDecorator[Collection[str]]):
    """Values of a column in one parameter: an array (PostgreSQL), a JSON array (SQLite).

    PostgreSQL finds out by itself that the parameter is an array, of the column's type: one that is made by a cast would
    be made anew for each row that is looked at.
    """

    impl = NullType
    cache_ok = True

    def __init__(self, item: TypeEngine[str]) -> None:
        super().__init__()
        self.item = item

    def process_bind_param(self, value: Collection[str] | None, dialect: Dialect) -> str:
        values = value or ()
        if dialect.name == "postgresql":
            return array_of(values)
        bind = self.item.dialect_impl(dialect).bind_processor(dialect)
        return json.dumps([one if bind is None else bind(one) for one in values])


class _IsOneOf(FunctionElement[bool]):
    inherit_cache = True
    name = "is_one_of"
    type = Boolean()

    def __init__(self, column: Any, values: BindParameter[Collection[str]]) -> None:
        super().__init__(column, values)


@compiles(_IsOneOf, "postgresql")
def _as_any(element: _IsOneOf, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(one, **options) for one in element.clauses)
    return f"{column} = ANY ({values})"


@compiles(_IsOneOf, "sqlite")
def _as_json(element: _IsOneOf, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(one, **options) for one in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608 (compiled by SQLAlchemy)
