"""A batch of reports into the history and over the newest rows, a handful of statements for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from pydantic_core import to_json
from sqlalchemy import select, text, tuple_
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from db.errors import RacedError
from db.history.copying import Row, copy_rows
from db.history.days import History
from db.history.dialects import array_of, insert_into, is_one_of, is_postgresql
from db.models import (
    ContainerReportRow,
    LatestContainerReport,
    LatestPodReport,
    LatestProcessReport,
    PodReportRow,
    ProcessReportRow,
)
from db.rows import read_rows

ReportKey = tuple[date, str, str]
"""Day, client, report key: the history's primary key."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of reports: where its history is, where its newest ones, and whose those are (the newest's key)."""

    history: History
    latest: type[LatestProcessReport] | type[LatestContainerReport] | type[LatestPodReport]
    whose: tuple[str, ...]


PROCESSES = Kind(ProcessReportRow, LatestProcessReport, ("project_id", "client_id"))
CONTAINERS = Kind(ContainerReportRow, LatestContainerReport, ("client_id",))
PODS = Kind(PodReportRow, LatestPodReport, ("client_id", "selection_key"))


def find_new(session: Session, kind: Kind, keys: Sequence[ReportKey]) -> list[bool]:
    """For each key whether it is the first of its kind, in the database and in the batch."""
    seen = _known_keys(session, kind, keys)
    new = []
    for key in keys:
        new.append(key not in seen)
        seen.add(key)
    return new


def _known_keys(session: Session, kind: Kind, keys: Sequence[ReportKey]) -> set[ReportKey]:
    table = kind.history
    columns = (table.day, table.client_id, table.report_key)
    if not is_postgresql(session):
        found = session.execute(select(*columns).where(tuple_(*columns).in_(list(keys))))
        return {(row.day, row.client_id, row.report_key) for row in found}
    # A join with the keys, not IN: a probe of the index for each key, in its day's partition alone.
    asked = {
        "days": array_of([key[0].isoformat() for key in keys]),
        "clients": array_of([key[1] for key in keys]),
        "keys": array_of([key[2] for key in keys]),
    }
    return {(row[0], row[1], row[2]) for row in read_rows(session, _KEYS[kind], asked)}


def _keys_statement(kind: Kind) -> Any:
    return text(
        f"SELECT r.day, r.client_id, r.report_key::text FROM {kind.history.__tablename__} r "  # noqa: S608 (our own name)
        "JOIN unnest(CAST(:days AS date[]), CAST(:clients AS text[]), CAST(:keys AS uuid[])) k(day, client_id, key) "
        "ON r.day = k.day AND r.client_id = k.client_id AND r.report_key = k.key"
    )


_KEYS = {kind: _keys_statement(kind) for kind in (PROCESSES, CONTAINERS, PODS)}


def keep_reports(session: Session, kind: Kind, rows: Sequence[Row]) -> list[bool]:
    """Add the reports to the history, and put the newest in their place; answers for each whether it was the newest
    when its turn came. Raises RacedError.

    A row has the values of both tables' columns. The newest rows are locked from here to the end of the transaction.
    """
    newest_at = _lock_newest(session, kind, rows)
    winners: dict[tuple[Any, ...], Row] = {}
    newest = []
    for row in rows:
        whose = tuple(row[name] for name in kind.whose)
        before = newest_at.get(whose)
        wins = before is None or row["reported_at"] >= before
        newest.append(wins)
        if wins:
            newest_at[whose] = row["reported_at"]
            winners[whose] = row
    copy_rows(session, kind.history, rows)
    if winners:
        _put_newest(session, kind, [winners[whose] for whose in sorted(winners)])
    return newest


def _lock_newest(session: Session, kind: Kind, rows: Sequence[Row]) -> dict[tuple[Any, ...], datetime]:
    whose = {name: sorted({row[name] for row in rows}) for name in kind.whose}
    return {tuple(row[:-1]): row[-1] for row in read_rows(session, _LOCKS[kind], whose)}


def _lock_statement(kind: Kind) -> Any:
    columns = [getattr(kind.latest, name) for name in kind.whose]
    conditions = [is_one_of(column, name) for name, column in zip(kind.whose, columns, strict=True)]
    return select(*columns, kind.latest.reported_at).where(*conditions).order_by(*columns).with_for_update()


def _put_newest(session: Session, kind: Kind, rows: Sequence[Row]) -> None:
    table = kind.latest
    names = [column.name for column in table.__table__.columns]
    if is_postgresql(session):
        document = to_json([{name: row[name] for name in names} for row in rows]).decode()
        put = read_rows(session, _PUTS[kind], {"rows": document})
        if len(put) < len(rows):
            raise RacedError(f"cannot put into {table.__tablename__}: another process put a newer one")
        return
    insert = insert_into(session, table)
    changed = {name: insert.excluded[name] for name in names if name not in kind.whose}
    session.execute(
        insert.on_conflict_do_update(index_elements=list(kind.whose), set_=changed),
        [{name: row[name] for name in names} for row in rows],
    )


def _put_statement(kind: Kind) -> Any:
    columns = list(kind.latest.__table__.columns)
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    names = ", ".join(column.name for column in columns)
    typed = ", ".join(f"{column.name} {column.type.compile(dialect=dialect)}" for column in columns)
    changed = ", ".join(f"{one.name} = EXCLUDED.{one.name}" for one in columns if one.name not in kind.whose)
    # One document for all rows: PostgreSQL takes it apart faster than it reads a parameter for each value.
    return text(
        f"INSERT INTO {kind.latest.__tablename__} AS l ({names}) "  # noqa: S608 (our own names)
        f"SELECT {names} FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r({typed}) "
        f"ON CONFLICT ({', '.join(kind.whose)}) DO UPDATE SET {changed} "
        "WHERE l.reported_at <= EXCLUDED.reported_at RETURNING 1"
    )


_LOCKS = {kind: _lock_statement(kind) for kind in (PROCESSES, CONTAINERS, PODS)}
_PUTS = {kind: _put_statement(kind) for kind in (PROCESSES, CONTAINERS, PODS)}
