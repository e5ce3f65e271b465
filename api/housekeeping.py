"""What the API does by itself, in threads of its own: it drops old reports, and pauses deploy tasks whose run is gone."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError

from api.parts import Parts
from db.errors import DatabaseError
from db.models import ContainerReportRow, ProcessReportRow, utc_now
from db.queries.reports import History, drop_old_reports
from db.session import Database
from tasks.planning.reconciling import pause_abandoned

BATCH = 500
"""Reports in one transaction: SQLite's other writers wait for it."""
PAUSE_S = 0.05
"""Between two transactions, so that other writers get their turn."""
END_WITHIN_S = 3.0
HISTORIES: tuple[History, ...] = (ProcessReportRow, ContainerReportRow)
log = logging.getLogger("api")


@dataclass(frozen=True, slots=True)
class Chore:
    """Something that is done every `every_s` seconds, first at once."""

    name: str
    every_s: float
    do: Callable[[Parts, threading.Event], None]


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


def _drop_old_reports(parts: Parts, ending: threading.Event) -> None:
    kept_for = timedelta(days=parts.settings.report_history_days)
    dropped = drop_history(parts.database, utc_now() - kept_for, ending)
    if dropped:
        log.info("dropped %d reports older than %d days", dropped, kept_for.days)


def _pause_abandoned(parts: Parts, _ending: threading.Event) -> None:
    with parts.database.write() as session:
        paused = pause_abandoned(session, utc_now())
    for deploy_task_id in paused:
        log.warning("paused deploy task %s: its run is gone; start it again, and it goes on", deploy_task_id)


CHORES = (
    Chore("drop old reports", 3600.0, _drop_old_reports),
    Chore("pause abandoned deploy tasks", 15.0, _pause_abandoned),
)


@asynccontextmanager
async def housekeeping(parts: Parts, _app: FastAPI) -> AsyncIterator[None]:
    """The application's lifespan: the threads start with it, and are told to end with it."""
    ending = threading.Event()
    threads = [
        threading.Thread(target=_keep_doing, args=(chore, parts, ending), name="housekeeping", daemon=True)
        for chore in CHORES
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ending.set()
        for thread in threads:
            await asyncio.to_thread(thread.join, END_WITHIN_S)


def _keep_doing(chore: Chore, parts: Parts, ending: threading.Event) -> None:
    while not ending.is_set():
        try:
            chore.do(parts, ending)
        except (DatabaseError, SQLAlchemyError) as error:
            log.warning("cannot %s: %s", chore.name, type(error).__name__)
        ending.wait(chore.every_s)
