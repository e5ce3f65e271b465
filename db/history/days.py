"""The history's days: partitions on PostgreSQL, made ahead or when one is missing, and dropped whole; rows on SQLite.

A partition is made as a table of its own and attached, which keeps nobody from writing to the others; it is dropped
under a lock that is waited for shortly, else everybody would wait behind whoever reads.
https://www.postgresql.org/docs/current/ddl-partitioning.html#DDL-PARTITIONING-DECLARATIVE-MAINTENANCE
"""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import delete, func, select, text, tuple_
from sqlalchemy.orm import Session

from db.models import ContainerReportRow, PodReportRow, ProcessReportRow
from db.session import Database

History = type[ProcessReportRow] | type[ContainerReportRow] | type[PodReportRow]

HISTORIES: tuple[History, ...] = (ProcessReportRow, ContainerReportRow, PodReportRow)
AHEAD = timedelta(days=2)
"""So far are days made ahead: an API that is away for a day makes none of its agents wait."""
LOCK_WAIT_MS = 2000
_A_DAY = timedelta(days=1)
_ADVISORY_LOCK = 0x686F6973743032  # "hoist02": who makes days holds it
_LISTED = text(
    "SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid "
    "WHERE inhparent = to_regclass(:parent)"
)
_DAY = re.compile(r"_(\d{8})$")


def oldest_day(now: datetime, kept_for: timedelta) -> date:
    """The day that is the oldest one kept."""
    return (now.astimezone(UTC) - kept_for).date()


def day_of(reported_at: datetime, now: datetime, oldest: date) -> date:
    """The day that a report belongs to: when its client says it was made, so that its repetition finds it.

    What is older than the history counts to its oldest day, what is ahead to tomorrow.
    """
    tomorrow = now.astimezone(UTC).date() + _A_DAY
    return max(oldest, min(reported_at.astimezone(UTC).date(), tomorrow))


def list_days(session: Session, table: History) -> list[date]:
    """The days that have a partition (PostgreSQL) or a report (SQLite), the oldest first."""
    if session.get_bind().dialect.name == "sqlite":
        return list(session.scalars(select(table.day).distinct().order_by(table.day)))
    names = session.scalars(_LISTED, {"parent": table.__tablename__})
    found = (_DAY.search(name) for name in names)
    return sorted(datetime.strptime(one[1], "%Y%m%d").date() for one in found if one)  # noqa: DTZ007 (a day, no time)


def make_days(database: Database, days: Iterable[date]) -> None:
    """Make sure that each of these days has its partitions. Nothing to do on SQLite."""
    wanted = sorted(set(days))
    if database.is_sqlite or not wanted:
        return
    with database.write() as session:
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        for table in HISTORIES:
            there = set(list_days(session, table))
            for day in wanted:
                if day not in there:
                    _attach(session, table.__tablename__, day)


def _attach(session: Session, parent: str, day: date) -> None:
    name = f"{parent}_{day:%Y%m%d}"
    until = day + timedelta(days=1)
    session.execute(text(f"CREATE TABLE {name} (LIKE {parent} INCLUDING ALL)"))
    session.execute(
        text(f"ALTER TABLE {parent} ATTACH PARTITION {name} FOR VALUES FROM ('{day}') TO ('{until}')")
    )


def make_days_ahead(database: Database, now: datetime) -> None:
    """Make today's partitions, and those of the days to come."""
    today = now.astimezone(UTC).date()
    make_days(database, [today + timedelta(days=number) for number in range(AHEAD.days + 1)])


def drop_days(database: Database, before: date) -> int:
    """Drop the partitions of the days before that one (PostgreSQL); answers how many. Raises TransientDatabaseError
    where somebody reads them for longer than LOCK_WAIT_MS: the next round drops them.
    """
    with database.read() as session:
        old = [(table, day) for table in HISTORIES for day in list_days(session, table) if day < before]
    for table, day in old:
        with database.write() as session:
            session.execute(text(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}"))
            session.execute(text(f"DROP TABLE IF EXISTS {table.__tablename__}_{day:%Y%m%d}"))
    return len(old)


def delete_reports(session: Session, table: History, before: date, limit: int) -> int:
    """Delete reports of the days before that one, the oldest first, `limit` at most (SQLite); answers how many."""
    key = (table.day, table.client_id, table.report_key)
    old = session.execute(select(*key).where(table.day < before).order_by(*key).limit(limit)).all()
    if old:
        session.execute(delete(table).where(tuple_(*key).in_([tuple(row) for row in old])))
    return len(old)


def database_now(database: Database, now: datetime) -> datetime:
    """The earlier of our clock and the database's: one clock that is ahead must not cost the history."""
    if database.is_sqlite:
        return now
    with database.read() as session:
        theirs: datetime = session.execute(select(func.now())).scalar_one()
    return min(now, theirs.astimezone(UTC))
