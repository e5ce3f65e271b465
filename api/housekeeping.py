"""What the API does by itself, once an hour, in a thread of its own: it drops old reports."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError

from api.parts import Parts
from db.errors import DatabaseError
from db.models import ContainerReportRow, ProcessReportRow, utc_now
from db.queries.reports import History, drop_old_reports
from db.session import Database

EVERY_S = 3600.0
BATCH = 500
"""Reports in one transaction: SQLite's other writers wait for it."""
PAUSE_S = 0.05
"""Between two transactions, so that other writers get their turn."""
END_WITHIN_S = 3.0
HISTORIES: tuple[History, ...] = (ProcessReportRow, ContainerReportRow)
log = logging.getLogger("api")


def drop_history(database: Database, before: datetime, ending: threading.Event, batch: int = BATCH) -> int:
    """Drop reports received before then, batch by batch until none is left or `ending` is set; answers how many."""
    return sum(_drop_from(table, database, before, ending, batch) for table in HISTORIES)


def _drop_from(
    table: History, database: Database, before: datetime, ending: threading.Event, batch: int
) -> int:
    dropped = 0
    while not ending.is_set():
        with database.write() as session:
            found = drop_old_reports(session, table, before, batch)
        dropped += found
        if found < batch or ending.wait(PAUSE_S):
            break
    return dropped


@asynccontextmanager
async def housekeeping(parts: Parts, _app: FastAPI) -> AsyncIterator[None]:
    """The application's lifespan: the thread starts with it, and is told to end with it."""
    ending = threading.Event()
    thread = threading.Thread(target=_keep_house, args=(parts, ending), name="housekeeping", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        await asyncio.to_thread(thread.join, END_WITHIN_S)


def _keep_house(parts: Parts, ending: threading.Event) -> None:
    kept_for = timedelta(days=parts.settings.report_history_days)
    while not ending.is_set():
        try:
            dropped = drop_history(parts.database, utc_now() - kept_for, ending)
        except (DatabaseError, SQLAlchemyError) as error:
            log.warning("cannot drop old reports: %s", type(error).__name__)
        else:
            if dropped:
                log.info("dropped %d reports older than %d days", dropped, kept_for.days)
        ending.wait(EVERY_S)
