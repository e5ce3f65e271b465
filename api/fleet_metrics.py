"""The fleet's state as metrics: who is online, what is installed, what fires, what waits. No label names a client."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from db.models import (
    Alert,
    Client,
    Delivery,
    DeployTask,
    Freeze,
    Installation,
    LatestContainerReport,
    LatestProcessReport,
    News,
    Project,
)

Sample = tuple[dict[str, str], float]
MAX_SAMPLES = 2000
"""Of one family: versions times projects."""
STATES = {True: "online", False: "offline", None: "never heard of"}


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with its samples."""

    name: str
    kind: str
    about: str
    samples: list[Sample]


def fleet_families(session: Session, now: datetime) -> Iterator[Family]:
    """All of them."""
    yield Family(
        "hoist_clients_by_state",
        "gauge",
        "Clients by state, as the heartbeat flow found them.",
        _clients(session),
    )
    held = sum(
        row.is_held(now) for row in session.scalars(select(Client).where(Client.held_reason.is_not(None)))
    )
    yield Family("hoist_clients_held", "gauge", "Clients that deploy tasks pass over.", [({}, held)])
    yield Family(
        "hoist_installed", "gauge", "Installations by project, version and status.", _installed(session)
    )
    yield Family(
        "hoist_alerts_firing", "gauge", "Alerts that fire, by type, level and project.", _alerts(session)
    )
    yield Family(
        "hoist_deploy_tasks_waiting", "gauge", "Deploy tasks by what they wait for.", _waiting(session)
    )
    lasting = Freeze.until.is_(None) | (Freeze.until > now)
    frozen = session.scalar(select(func.count()).select_from(Freeze).where(lasting)) or 0
    yield Family("hoist_freezes", "gauge", "Freezes that last.", [({}, frozen)])
    unsent = session.scalar(select(func.count()).select_from(News).where(News.routed_at.is_(None))) or 0
    yield Family("hoist_news_unrouted", "gauge", "News that no channel has been given yet.", [({}, unsent)])
    yield Family(
        "hoist_deliveries", "gauge", "Deliveries of news by channel and status.", _deliveries(session)
    )
    yield Family(
        "hoist_oldest_report_age_seconds",
        "gauge",
        "Age of the oldest newest report of what is installed, by kind.",
        _ages(session, now),
    )


def _clients(session: Session) -> list[Sample]:
    found = {
        row[0]: row[1] for row in session.execute(select(Client.online, func.count()).group_by(Client.online))
    }
    return [({"state": name}, found.get(online, 0)) for online, name in STATES.items()]


def _installed(session: Session) -> list[Sample]:
    query = (
        select(Project.name, Installation.version, Installation.status, func.count())
        .join(Project, Project.id == Installation.project_id)
        .group_by(Project.name, Installation.version, Installation.status)
        .order_by(func.count().desc())
        .limit(MAX_SAMPLES)
    )
    return [
        ({"project": project, "version": version, "status": status}, count)
        for project, version, status, count in session.execute(query)
    ]


def _alerts(session: Session) -> list[Sample]:
    query = (
        select(Alert.type, Alert.level, Project.name, func.count())
        .outerjoin(Project, Project.id == Alert.project_id)
        .where(Alert.fired_at.is_not(None), Alert.resolved_at.is_(None))
        .group_by(Alert.type, Alert.level, Project.name)
        .limit(MAX_SAMPLES)
    )
    return [
        ({"type": kind, "level": level, "project": project or ""}, count)
        for kind, level, project, count in session.execute(query)
    ]


def _waiting(session: Session) -> list[Sample]:
    query = select(DeployTask.hold).where(DeployTask.hold.is_not(None), DeployTask.finished_at.is_(None))
    counts: dict[str, int] = {}
    for hold in session.scalars(query):
        if hold is not None:
            counts[hold.kind] = counts.get(hold.kind, 0) + 1
    return [({"for": kind}, count) for kind, count in sorted(counts.items())]


def _deliveries(session: Session) -> list[Sample]:
    query = select(Delivery.channel, Delivery.status, func.count()).group_by(
        Delivery.channel, Delivery.status
    )
    return [
        ({"channel": channel, "status": status}, count) for channel, status, count in session.execute(query)
    ]


def _ages(session: Session, now: datetime) -> list[Sample]:
    table: Any = LatestProcessReport
    installed = and_(Installation.client_id == table.client_id, Installation.project_id == table.project_id)
    processes = session.scalar(
        select(func.min(table.received_at))
        .join(Installation, installed)
        .where(Installation.status == "installed")
    )
    containers = session.scalar(select(func.min(LatestContainerReport.received_at)))
    oldest = {"process": processes, "container": containers}
    return [({"kind": kind}, (now - at).total_seconds()) for kind, at in oldest.items() if at is not None]
