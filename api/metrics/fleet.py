"""The fleet's state as gauges: read from the database, and read anew at most every few seconds.

Every API process shows the same: `max without (instance) (…)` is the fleet's figure, never the sum.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar, get_args

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from api.schemas.deploy_tasks import TaskStatus
from db.documents.hold import HoldKind
from db.errors import DatabaseError
from db.models import utc_now
from db.queries.figures import FleetFigures, NewsFigures, read_figures
from db.session import Database
from tasks.alerting.prefect_events import NAME as PREFECT_EVENTS
from tasks.decisions.observed import LEVELS

READ_AGAIN_S = 5.0
MAX_INSTALLATION_SERIES = 500
OTHER = "(other)"
"""Projects and versions beyond MAX_INSTALLATION_SERIES are one series for each status."""
INSTALLATION_STATUSES = ("installed", "failed", "uninstalled")
CHANNELS, PREFECT = "channels", "prefect"
RECEIVERS = (CHANNELS, PREFECT)
"""To whom deliveries are: the channels of HOIST_NOTIFY_FILE, which people read, or Prefect's events."""
Key = TypeVar("Key")
log = logging.getLogger("api")


class FleetMetrics(Collector):
    """The gauges. A database that can't be read leaves them out, and says so in `hoist_database_up`."""

    def __init__(
        self,
        database: Database,
        now: Callable[[], datetime] = utc_now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._now = now
        self._clock = clock
        self._lock = threading.Lock()
        self._figures: FleetFigures | None = None
        self._read_at: float | None = None

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing: so a registry doesn't collect in order to know the names."""
        return ()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Every gauge, as of a few seconds ago at most."""
        figures = self._read()
        yield GaugeMetricFamily(
            "hoist_database_up", "Whether this process can read its database.", value=figures is not None
        )
        if figures is not None:
            yield from _families(figures, self._now())

    def _read(self) -> FleetFigures | None:
        with self._lock:  # who comes meanwhile gets what the first one reads
            if self._read_at is None or self._clock() - self._read_at >= READ_AGAIN_S:
                self._figures = self._read_anew()
                self._read_at = self._clock()
            return self._figures

    def _read_anew(self) -> FleetFigures | None:
        try:
            with self._database.read() as session:
                return read_figures(session, self._now())
        except (DatabaseError, SQLAlchemyError) as error:
            log.warning("cannot read the fleet's figures: %s", type(error).__name__)
            return None


def _families(figures: FleetFigures, now: datetime) -> Iterable[GaugeMetricFamily]:
    yield from _clients(figures)
    yield from _deploy_tasks(figures)
    yield from _alerts(figures, now)
    yield from _reports(figures, now)


def _clients(figures: FleetFigures) -> Iterable[GaugeMetricFamily]:
    clients = figures.clients
    installations = _by_status(figures)
    yield _plain("hoist_projects", "Registered projects.", figures.projects)
    yield _plain("hoist_clients", "Registered clients.", clients.total)
    yield _plain("hoist_clients_online", "Clients that the heartbeat last heard of.", clients.online)
    yield _plain("hoist_clients_offline", "Clients that are silent.", clients.offline)
    yield _plain("hoist_clients_held", "Clients that are held: deploy tasks pass them over.", clients.held)
    yield _labelled("hoist_installations", "Installations by status.", ("status",), installations)
    yield _labelled(
        "hoist_project_installations",
        "Installations by project, version and status.",
        ("project", "version", "status"),
        bounded(figures.installations),
    )


def _deploy_tasks(figures: FleetFigures) -> Iterable[GaugeMetricFamily]:
    yield _labelled(
        "hoist_deploy_tasks",
        "Deploy tasks by status.",
        ("status",),
        _with_zeros(figures.deploy_tasks, get_args(TaskStatus)),
    )
    yield _labelled(
        "hoist_deploy_results",
        "Clients of unfinished deploy tasks by result.",
        ("status",),
        figures.deploy_results,
    )
    yield _labelled(
        "hoist_deploy_tasks_waiting",
        "Deploy tasks that wait, by what for.",
        ("for",),
        _with_zeros(figures.holds, get_args(HoldKind)),
    )
    yield _plain("hoist_freezes", "Freezes that last: nothing starts where they are.", figures.freezes)


def _alerts(figures: FleetFigures, now: datetime) -> Iterable[GaugeMetricFamily]:
    yield _labelled(
        "hoist_alerts_firing",
        "Alerts that fire, by level and type.",
        ("level", "type"),
        _with_zeros(figures.alerts, [(level, type_) for type_, level in LEVELS.items()]),
    )
    yield from _news(figures.news, now)


def _news(news: NewsFigures, now: datetime) -> Iterable[GaugeMetricFamily]:
    waiting, waiting_s, failed = (dict.fromkeys(RECEIVERS, 0.0) for _ in range(3))
    for (channel, status), unsent in news.unsent.items():
        to = PREFECT if channel == PREFECT_EVENTS else CHANNELS
        if status == "failed":
            failed[to] += unsent.count
        else:
            waiting[to] += unsent.count
            waiting_s[to] = max(waiting_s[to], _age_s(unsent.since, now))
    yield _plain(
        "hoist_news_unrouted", "News that no channel was given yet, silenced included.", news.unrouted
    )
    yield _labelled("hoist_deliveries_waiting", "Deliveries of news that are not sent yet.", ("to",), waiting)
    yield _labelled(
        "hoist_deliveries_waiting_oldest_seconds",
        "How long the oldest unsent delivery has waited.",
        ("to",),
        waiting_s,
    )
    yield _labelled(
        "hoist_deliveries_failed", "Deliveries that were given up after a day of trying.", ("to",), failed
    )


def _reports(figures: FleetFigures, now: datetime) -> Iterable[GaugeMetricFamily]:
    expected = figures.reports.items()
    yield _labelled(
        "hoist_report_interval_seconds",
        "The shortest collect_interval of the installations that are to report.",
        ("kind",),
        {kind: one.interval_s for kind, one in expected if one.interval_s is not None},
    )
    yield _ages(
        "hoist_newest_report_age_seconds",
        "Of every installation's newest report the newest one's age.",
        {kind: one.newest for kind, one in expected},
        now,
    )
    yield _ages(
        "hoist_oldest_report_age_seconds",
        "Of every installation's newest report the oldest one's age.",
        {kind: one.oldest for kind, one in expected},
        now,
    )
    yield _ages(
        "hoist_report_overdue_seconds",
        "Of the installation that is behind most, how long ago it should have reported.",
        {kind: one.due_at for kind, one in expected},
        now,
    )
    yield _labelled(
        "hoist_spool_dropped_reports",
        "Reports that agents gave up: no room, refused for good, or for a day. As they say in their newest report.",
        ("kind",),
        figures.dropped_reports,
    )


def bounded(
    installations: Mapping[tuple[str, str, str], int], limit: int = MAX_INSTALLATION_SERIES
) -> dict[tuple[str, str, str], int]:
    """The largest counts; what is beyond the limit is added up as OTHER."""
    largest = sorted(installations.items(), key=lambda one: (-one[1], one[0]))
    found = dict(largest[:limit])
    for (_, _, status), count in largest[limit:]:
        key = (OTHER, OTHER, status)
        found[key] = found.get(key, 0) + count
    return found


def _by_status(figures: FleetFigures) -> dict[str, int]:
    found = dict.fromkeys(INSTALLATION_STATUSES, 0)
    for (_, _, status), count in figures.installations.items():
        found[status] = found.get(status, 0) + count
    return found


def _with_zeros(counts: Mapping[Key, int], known: Iterable[Key]) -> dict[Key, int]:
    return {**dict.fromkeys(known, 0), **counts}


def _age_s(at: datetime, now: datetime) -> float:
    return max(0.0, (now - at).total_seconds())


def _plain(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, about, value=value)


def _ages(name: str, about: str, times: Mapping[str, datetime | None], now: datetime) -> GaugeMetricFamily:
    """By kind; one that has no such time has no series."""
    ages = {kind: _age_s(at, now) for kind, at in times.items() if at is not None}
    return _labelled(name, about, ("kind",), ages)


def _labelled(
    name: str, about: str, labels: tuple[str, ...], values: Mapping[Any, float]
) -> GaugeMetricFamily:
    """`values`: by the label's value, or by a tuple of all of theirs."""
    family = GaugeMetricFamily(name, about, labels=labels)
    for key, value in values.items():
        family.add_metric([key] if isinstance(key, str) else list(key), value)
    return family
