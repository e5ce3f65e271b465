"""Rows into a table by COPY (PostgreSQL) or as an ordinary INSERT (SQLite), the same rows for both.

https://www.postgresql.org/docs/current/sql-copy.html (the text format)
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from operator import itemgetter
from types import NoneType
from typing import Any, cast

import psycopg
from psycopg.errors import CheckViolation, UniqueViolation
from pydantic_core import to_json
from sqlalchemy import insert
from sqlalchemy.orm import Session

from db.errors import RacedError, TransientDatabaseError
from db.history.dialects import is_postgresql

Row = Mapping[str, Any]

_key_of = itemgetter("day", "client_id", "report_key")
_ESCAPED = re.compile(r"[\\\n\r\t]")
_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_LEAST, _GREATEST = 1e-37, 3e38
"""PostgreSQL refuses what doesn't fit in a real, too small as well as too large."""


def copy_rows(session: Session, table: Any, rows: Sequence[Row]) -> None:
    """Add the rows; a row may have more values than the table has columns.

    Raises RacedError where one of them is there already, or where its partition is gone.
    """
    names = [column.name for column in table.__table__.columns]
    if not is_postgresql(session):
        session.execute(insert(table), [{name: row[name] for name in names} for row in rows])
        return
    statement = f"COPY {table.__tablename__} ({', '.join(names)}) FROM STDIN"
    # In the key's order, so that two processes that add the same rows never wait for each other.
    lines = [
        "\t".join([_FORMATS[type(value := row[name])](value) for name in names])
        for row in sorted(rows, key=_key_of)
    ]
    text = "\n".join(lines) + "\n"
    connection = cast("psycopg.Connection", session.connection().connection.driver_connection)
    try:
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(text)
    except (UniqueViolation, CheckViolation) as error:
        raise RacedError(f"cannot add to {table.__tablename__}: {type(error).__name__}") from error
    except psycopg.OperationalError as error:
        raise TransientDatabaseError(f"cannot add to {table.__tablename__}: {error}") from error


def _text(value: str) -> str:
    return value.translate(_ESCAPES) if _ESCAPED.search(value) else value  # most have none


def _reals(numbers: list[float | None]) -> str:
    inside = to_json(numbers)[1:-1].decode().replace("null", "NULL")
    if "e" in inside:  # an exponent: very large or very small
        inside = ",".join([_real(number) for number in numbers])
    return "{" + inside + "}"


def _real(number: float | None) -> str:
    if number is None:
        return "NULL"
    if _LEAST < number < _GREATEST:
        return repr(number)
    return "0" if number <= _LEAST else repr(_GREATEST)


_FORMATS: dict[type, Callable[[Any], str]] = {
    NoneType: lambda _: r"\N",
    str: _text,
    int: str,
    list: _reals,
    date: date.isoformat,
    datetime: datetime.isoformat,
}
