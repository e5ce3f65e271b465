"""One round of the watch: what time alone changes is judged, what is unsent is sent, the fleet's tables are shown."""

import asyncio
import os
from collections.abc import Callable
from datetime import datetime
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import acreate_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.settings import get_current_settings
from prefect.states import Completed
from sqlalchemy.orm import Session

from db.models import utc_now
from db.session import Database, open_database
from tasks.alerting.changing import apply_time
from tasks.alerting.channels import NOTIFY_FILE, load_channels
from tasks.alerting.prefect_events import prefect_events
from tasks.alerting.sending import emit_events, send_news
from tasks.artifacts import best_effort
from tasks.errors import PermanentTaskError
from tasks.fleet.drift import Drifted, drift_table, judge_drifts, read_drifts
from tasks.fleet.offline import end_orphans, judge_offline
from tasks.fleet.tables import Tables, read_tables

HEALTH_KEY = "fleet-health"
ALERTS_KEY = "firing-alerts"
DRIFT_KEY = "fleet-drift"
MOST_BATCHES = 100


async def watch_fleet(offline_for_s: float, keep_firing_s: float) -> State[Any]:
    """Judge, send, show; the fleet in one line is the state's message."""
    await judge_by_time(offline_for_s, keep_firing_s)
    drifted = await judge_drift()
    await send_unsent()
    return Completed(message=f"{await show_fleet()}; {drifted} installations have drifted")


@task(name="judge_by_time", cache_policy=NO_CACHE, persist_result=False, timeout_seconds=120, retries=2)
async def judge_by_time(offline_for_s: float, keep_firing_s: float) -> None:
    """Who is offline for too long, what has waited long enough, what was kept firing, what is not there any more."""

    def judge(database: Database) -> None:
        now = utc_now()
        with database.write() as session:
            judge_offline(session, now, offline_for_s, keep_firing_s)
        for change in (end_orphans, apply_time):
            _repeat(database, change, now)

    await _with_database(judge)


@task(name="judge_drift", cache_policy=NO_CACHE, persist_result=False, timeout_seconds=120, retries=2)
async def judge_drift() -> int:
    """What is recorded against what clients report, as alerts and as a table; answers how many have drifted."""

    def judge(database: Database) -> list[Drifted]:
        now = utc_now()
        with database.read() as session:  # at length: nobody who writes waits for it
            found = read_drifts(session, now)
        with database.write() as session:
            return judge_drifts(session, found, now)

    found: list[Drifted] = await _with_database(judge)
    table = acreate_table_artifact(
        drift_table(found), key=DRIFT_KEY, description=f"{len(found)} installations have drifted"
    )
    await best_effort("show the drift", table)
    return len(found)


@task(name="send_unsent", cache_policy=NO_CACHE, persist_result=False, timeout_seconds=120)
async def send_unsent() -> int:
    """What the release API has not sent; answers how many messages left.

    Where this process knows no channels it leaves news alone: the release API may know some.
    """
    known = get_current_settings().api
    auth = known.auth_string.get_secret_value() if known.auth_string else None
    events = prefect_events(known.url, auth)

    def send(database: Database) -> int:
        try:
            if os.environ.get(NOTIFY_FILE):
                return send_news(database, load_channels(), utc_now(), events=events)
            return emit_events(database, events, utc_now()) if events is not None else 0
        except PermanentTaskError as error:
            get_run_logger().error("%s", error)
            return 0

    return int(await _with_database(send))


@task(name="show_fleet", cache_policy=NO_CACHE, persist_result=False, timeout_seconds=120)
async def show_fleet() -> str:
    """Two tables, under the same keys each time: Prefect keeps their history. Answers the fleet in one line."""

    def read(database: Database) -> Tables:
        with database.read() as session:
            return read_tables(session, utc_now())

    tables: Tables = await _with_database(read)
    health = acreate_table_artifact(tables.health, key=HEALTH_KEY, description=tables.summary)
    await best_effort("show the fleet's health", health)
    fires = acreate_table_artifact(tables.alerts, key=ALERTS_KEY, description=f"{tables.firing} alerts fire")
    await best_effort("show what fires", fires)
    return tables.summary


def _repeat(database: Database, change: Callable[[Session, datetime], int], now: datetime) -> None:
    """Some in one transaction, until there are no more; what comes meanwhile is the next round's."""
    for _ in range(MOST_BATCHES):
        with database.write() as session:
            if not change(session, now):
                return


async def _with_database(work: Any) -> Any:
    def do() -> Any:
        database = open_database()
        try:
            return work(database)
        finally:
            database.close()

    return await asyncio.to_thread(do)
