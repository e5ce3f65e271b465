"""The fleet in figures: how many of what, in a handful of statements that read no row twice."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select
from sqlalchemy.orm import Session

from db.models import (
    Alert,
    Client,
    Delivery,
    DeployResult,
    DeployTask,
    Freeze,
    Installation,
    LatestContainerReport,
    LatestPodReport,
    LatestProcessReport,
    News,
    Project,
)
from db.queries.expected_reports import ExpectedReports, read_expected_reports

FINISHED = ("completed", "failed", "cancelled", "rolled_back")
"""Statuses of deploy tasks whose results change no more: there are more of them every day."""


@dataclass(frozen=True, slots=True)
class ClientFigures:
    """Clients: all of them; as the heartbeat last found them (the rest was never asked); held now."""

    total: int
    online: int
    offline: int
    held: int


@dataclass(frozen=True, slots=True)
class Unsent:
    """Deliveries that did not leave: how many, and since when the oldest is there."""

    count: int
    since: datetime


@dataclass(frozen=True, slots=True)
class NewsFigures:
    """News and its deliveries. `unrouted`: given to no channel yet, for it is silenced or nobody sends.

    `unsent`: by channel and status, which is waiting or failed (given up).
    """

    unrouted: int
    unsent: Mapping[tuple[str, str], Unsent]


@dataclass(frozen=True, slots=True)
class FleetFigures:
    """Counts by what the key says.

    `installations`: project's name, version, status. `deploy_results`: of unfinished deploy tasks. `holds`: deploy tasks by what they
    wait for. `freezes`: those that last. `alerts`: firing, by
    level and type. `reports`: those that are expected, by kind. `dropped_reports`: by kind, what agents say they had to drop.
    """

    projects: int
    clients: ClientFigures
    installations: Mapping[tuple[str, str, str], int]
    deploy_tasks: Mapping[str, int]
    deploy_results: Mapping[str, int]
    holds: Mapping[str, int]
    freezes: int
    alerts: Mapping[tuple[str, str], int]
    news: NewsFigures
    reports: Mapping[str, ExpectedReports]
    dropped_reports: Mapping[str, int]


def read_figures(session: Session, now: datetime) -> FleetFigures:
    """The fleet as it is. What only grows (history, sent deliveries, finished deploy tasks' results) is not counted."""
    return FleetFigures(
        projects=session.scalar(select(func.count(Project.id))) or 0,
        clients=_clients(session, now),
        installations=_counts(session, _INSTALLATIONS),
        deploy_tasks=_counts(session, select(DeployTask.status, func.count()).group_by(DeployTask.status)),
        deploy_results=_counts(session, _RESULTS),
        holds=_holds(session),
        freezes=session.scalar(_freezes_at(now)) or 0,
        alerts=_counts(session, _ALERTS),
        news=_news(session),
        reports=read_expected_reports(session),
        dropped_reports=_dropped_reports(session),
    )


_INSTALLATIONS = (
    select(Project.name, Installation.version, Installation.status, func.count())
    .join(Project, Project.id == Installation.project_id)
    .group_by(Project.name, Installation.version, Installation.status)
)
_RESULTS = (
    select(DeployResult.status, func.count())
    .join(DeployTask, DeployTask.id == DeployResult.deploy_task_id)
    .where(DeployTask.status.not_in(FINISHED))
    .group_by(DeployResult.status)
)
_ALERTS = (
    select(Alert.level, Alert.type, func.count())
    .where(Alert.resolved_at.is_(None), Alert.fired_at.is_not(None))
    .group_by(Alert.level, Alert.type)
)
_PODS_BY_AGE = select(
    LatestPodReport.dropped_reports,
    func.row_number()
    .over(
        partition_by=LatestPodReport.client_id,
        order_by=(LatestPodReport.reported_at.desc(), LatestPodReport.dropped_reports.desc()),
    )
    .label("age"),
).subquery()
"""An agent says in the reports of each selection how many it dropped of all of them: its newest one says it for the client."""
_DROPPED = select(
    select(func.sum(LatestProcessReport.dropped_reports)).scalar_subquery().label("process"),
    select(func.sum(LatestContainerReport.dropped_reports)).scalar_subquery().label("container"),
    select(func.sum(_PODS_BY_AGE.c.dropped_reports))
    .where(_PODS_BY_AGE.c.age == 1)
    .scalar_subquery()
    .label("pod"),
)


def _counts(session: Session, query: Select[*tuple[Any, ...]]) -> dict[Any, int]:
    """A query's rows by all columns but the last, which is how many."""
    found = session.execute(query)
    return {row[0] if len(row) == 2 else tuple(row[:-1]): row[-1] for row in found}


def _clients(session: Session, now: datetime) -> ClientFigures:
    held = and_(Client.held_reason.is_not(None), or_(Client.held_until.is_(None), Client.held_until > now))
    online, offline = Client.online.is_(True), Client.online.is_(False)
    query = select(func.count(), _how_many(online), _how_many(offline), _how_many(held))
    return ClientFigures(*session.execute(query.select_from(Client)).one().tuple())


def _holds(session: Session) -> dict[str, int]:
    query = select(DeployTask.hold).where(DeployTask.hold.is_not(None), DeployTask.finished_at.is_(None))
    return dict(Counter(hold.kind for hold in session.scalars(query) if hold is not None))


def _freezes_at(now: datetime) -> Select[int]:
    lasting = or_(Freeze.until.is_(None), Freeze.until > now)
    return select(func.count()).select_from(Freeze).where(lasting)


def _how_many(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def _news(session: Session) -> NewsFigures:
    unrouted = session.scalar(select(func.count()).select_from(News).where(News.routed_at.is_(None)))
    query = (
        select(Delivery.channel, Delivery.status, func.count(), func.min(Delivery.created_at))
        .where(Delivery.status.in_(("waiting", "failed")))
        .group_by(Delivery.channel, Delivery.status)
    )
    unsent = {
        (channel, status): Unsent(count, since) for channel, status, count, since in session.execute(query)
    }
    return NewsFigures(unrouted or 0, unsent)


def _dropped_reports(session: Session) -> dict[str, int]:
    return {kind: int(count or 0) for kind, count in session.execute(_DROPPED).mappings().one().items()}
