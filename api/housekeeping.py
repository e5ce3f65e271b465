"""What the API does by itself, in threads of its own: days for reports are made ahead, old ones dropped, deploy tasks
whose run is gone are paused, and those whose time has come are started.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError

from api.alerting import Messenger, look_after_alerts
from api.errors import RunsEndedError, TransientApiError
from api.parts import Parts
from db.errors import DatabaseError
from db.history.dropping import keep_house
from db.models import utc_now
from db.queries.deploy_tasks import get_deploy_task
from tasks.errors import LeaseHeldError, PermanentTaskError
from tasks.planning.controls import begin_start
from tasks.planning.reconciling import (
    due_deploy_tasks,
    give_up,
    is_to_begin,
    mark_begun,
    pause_abandoned,
    refuse_due,
)

END_WITHIN_S = 3.0
log = logging.getLogger("api")


@dataclass(frozen=True, slots=True)
class Chore:
    """Something that is done every `every_s` seconds, first at once."""

    name: str
    every_s: float
    do: Callable[[Parts, threading.Event], None]


def _drop_old_reports(parts: Parts, ending: threading.Event) -> None:
    kept_for = timedelta(days=parts.settings.report_history_days)
    dropped = keep_house(parts.database, utc_now(), kept_for, ending)
    if dropped:
        what = "reports" if parts.database.is_sqlite else "partitions of reports"
        log.info("dropped %d %s older than %d days", dropped, what, kept_for.days)


def _pause_abandoned(parts: Parts, _ending: threading.Event) -> None:
    with parts.database.write() as session:
        paused = pause_abandoned(session, utc_now())
    for deploy_task_id in paused:
        log.warning("paused deploy task %s: its run is gone; start it again, and it goes on", deploy_task_id)


def _start_due(parts: Parts, ending: threading.Event) -> None:
    """Start the deploy tasks whose time has come. One that can't be says why, and is tried again."""
    with parts.database.read() as session:
        due = due_deploy_tasks(session, utc_now())
    for deploy_task_id in due:
        if ending.is_set():
            return
        try:
            parts.flow_runs.check()
            key = _begin_start(parts, deploy_task_id)
            parts.flow_runs.start(deploy_task_id, key, by_itself=True)
            with parts.database.write() as session:
                mark_begun(session, deploy_task_id, utc_now())
        except RunsEndedError as error:
            with parts.database.write() as session:
                give_up(session, deploy_task_id, str(error), utc_now())
            log.warning("cannot start scheduled deploy task %s: %s", deploy_task_id, error)
        except (PermanentTaskError, TransientApiError) as error:
            why = error.standing if isinstance(error, LeaseHeldError) else str(error)
            with parts.database.write() as session:
                if refuse_due(session, deploy_task_id, why, utc_now()):
                    log.warning("cannot start scheduled deploy task %s: %s", deploy_task_id, error)


def _begin_start(parts: Parts, deploy_task_id: str) -> str:
    """The key of its flow run. That it is started is in the trail only once, however often that is looked for."""
    with parts.database.write() as session:
        task = get_deploy_task(session, deploy_task_id)
        looked_for = is_to_begin(task)
        key = begin_start(session, task, False, utc_now(), who="schedule")
        if looked_for:
            session.rollback()
    return key


def _chores() -> tuple[Chore, ...]:
    return (
        Chore("drop old reports", 3600.0, _drop_old_reports),
        Chore("pause abandoned deploy tasks", 15.0, _pause_abandoned),
        Chore("start scheduled deploy tasks", 5.0, _start_due),
        Chore("look after alerts", 0.25, look_after_alerts),
        Chore("send what is news", 0.5, Messenger().send),
    )


@asynccontextmanager
async def housekeeping(parts: Parts) -> AsyncIterator[None]:
    """The threads, for as long as the application lives."""
    ending = threading.Event()
    threads = [
        threading.Thread(target=_keep_doing, args=(chore, parts, ending), name="housekeeping", daemon=True)
        for chore in _chores()
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
        except Exception:  # the outermost loop: the next round may work
            log.exception("cannot %s", chore.name)
        ending.wait(chore.every_s)
