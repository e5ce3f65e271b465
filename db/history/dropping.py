"""Dropping what is older than history is kept: days as partitions on PostgreSQL, rows in small transactions on SQLite."""

import threading
from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import partial

from sqlalchemy.orm import Session

from db.history.days import HISTORIES, database_now, delete_reports, drop_days, make_days_ahead, oldest_day
from db.history.pod_selections import drop_old_selections
from db.history.process_sets import drop_old_sets
from db.session import Database

BATCH = 500
"""Rows in one transaction: SQLite's other writers wait for it."""
PAUSE_S = 0.05
"""Between two transactions, so that other writers get their turn."""


def drop_history(database: Database, before: date, ending: threading.Event, batch: int = BATCH) -> int:
    """Drop the reports of the days before that one, and what only they refer to; answers how many partitions (on SQLite:
    reports) that were. Ends early when `ending` is set. Raises TransientDatabaseError.
    """
    if database.is_sqlite:
        deletes = [partial(delete_reports, table=table) for table in HISTORIES]
        dropped = sum(_repeat(delete, database, before, ending, batch) for delete in deletes)
    else:
        dropped = 0 if ending.is_set() else drop_days(database, before)
    for drop in (drop_old_sets, drop_old_selections):
        _repeat(drop, database, before, ending, batch)
    return dropped


def keep_house(database: Database, now: datetime, kept_for: timedelta, ending: threading.Event) -> int:
    """Make the days to come, drop those that are over; answers like `drop_history`."""
    make_days_ahead(database, now)
    return drop_history(database, oldest_day(database_now(database, now), kept_for), ending)


def repeat_in_batches(
    delete: Callable[[Session, int], int], database: Database, ending: threading.Event, batch: int = BATCH
) -> int:
    """Call `delete` (session, how many at most), a transaction each, until it finds less; answers how many it deleted."""
    deleted = 0
    while not ending.is_set():
        with database.write() as session:
            found = delete(session, batch)
        deleted += found
        if found < batch or ending.wait(PAUSE_S):
            break
    return deleted


def _repeat(
    delete: Callable[..., int], database: Database, before: date, ending: threading.Event, batch: int
) -> int:
    def some(session: Session, limit: int) -> int:
        return delete(session, before=before, limit=limit)

    return repeat_in_batches(some, database, ending, batch)
