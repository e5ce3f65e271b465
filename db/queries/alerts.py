"""Alerts, and what they are judged by."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.orm import Session

from db.history.dialects import insert_into, is_one_of, is_pair_of
from db.models import (
    Alert,
    AlertMemory,
    DeployResult,
    DeployTask,
    Installation,
    LatestContainerReport,
    LatestPodReport,
    Silence,
)
from db.queries.deploy_tasks import is_going_back
from db.queries.paging import page_of

T = TypeVar("T")

Pair = tuple[str, str]
"""A client's id and a project's."""
UNDER_WAY = ("running", "canary", "rolling_back")
LEFT_ALONE = timedelta(hours=2)
CHUNK = 500
"""Pairs in one query: SQLite takes no more variables than 32,766."""


def fingerprint_of(project_id: str | None, client_id: str | None, subject: str, type_: str) -> str:
    """What tells an alert from every other one."""
    said = "\x00".join((project_id or "", client_id or "", subject, type_))
    return hashlib.sha256(said.encode()).hexdigest()


def live_alerts(session: Session, pairs: Collection[Pair], types: Collection[str]) -> list[Alert]:
    """Alerts of these types that wait or fire on these clients of these projects, locked until the transaction's end.

    Time alone changes them meanwhile, in another transaction: both would tell of the same.
    """
    found: list[Alert] = []
    for chunk in _chunks(pairs):
        query = (
            select(Alert)
            .where(
                Alert.resolved_at.is_(None),
                Alert.type.in_(types),
                is_pair_of(session, (Alert.client_id, Alert.project_id), chunk),
            )
            .order_by(Alert.id)
            .with_for_update()
        )
        found.extend(session.scalars(query))
    return found


def memories(session: Session, pairs: Collection[Pair], kind: str) -> dict[Pair, Mapping[str, Any]]:
    """What was remembered of each pair's last judged report."""
    found: dict[Pair, Mapping[str, Any]] = {}
    whose = (AlertMemory.client_id, AlertMemory.project_id)
    for chunk in _chunks(pairs):
        query = select(*whose, AlertMemory.document).where(
            AlertMemory.kind == kind, is_pair_of(session, whose, chunk)
        )
        found.update({(row[0], row[1]): row[2] for row in session.execute(query)})
    return found


def put_memories(session: Session, kind: str, documents: Mapping[Pair, Mapping[str, Any]]) -> None:
    """Remember that of the pairs' last judged reports: one statement for all of them."""
    if not documents:
        return
    rows = [
        {"client_id": client_id, "project_id": project_id, "kind": kind, "document": document}
        for (client_id, project_id), document in sorted(documents.items())
    ]
    insert = insert_into(session, AlertMemory)
    key = ["client_id", "project_id", "kind"]
    session.execute(
        insert.on_conflict_do_update(index_elements=key, set_={"document": insert.excluded.document}), rows
    )


def deploying_pairs(session: Session, client_ids: Collection[str], now: datetime) -> set[Pair]:
    """The pairs of these clients that a deploy task is at work on now, forward or back.

    A run that is gone, or was cancelled, leaves scripts that go on: they count for two hours from their start.
    """
    under_way = DeployTask.status.in_(UNDER_WAY) & or_(DeployResult.status == "running", is_going_back())
    left_alone = or_(
        (DeployResult.status == "running") & (DeployResult.started_at > now - LEFT_ALONE),
        is_going_back(since=now - LEFT_ALONE),
    )
    found: set[Pair] = set()
    for chunk in _chunks(client_ids):
        query = (
            select(DeployResult.client_id, DeployTask.project_id)
            .join(DeployTask, DeployTask.id == DeployResult.deploy_task_id)
            .where(or_(under_way, left_alone), is_one_of(session, DeployResult.client_id, chunk))
        )
        found.update((client_id, project_id) for client_id, project_id in session.execute(query))
    return found


def last_deployed(session: Session, client_id: str, project_id: str) -> tuple[str, str] | None:
    """The deploy task that touched the client last, and the version that it was to bring."""
    query = (
        select(DeployTask.id, DeployTask.version, DeployResult.status)
        .join(DeployResult, DeployResult.deploy_task_id == DeployTask.id)
        .where(
            DeployTask.project_id == project_id,
            DeployResult.client_id == client_id,
            DeployResult.finished_at.is_not(None),
            DeployResult.status != "skipped",
        )
        .order_by(DeployResult.finished_at.desc())
        .limit(1)
    )
    row = session.execute(query).first()
    return (row.id, row.version or "its previous version") if row is not None else None


@dataclass(frozen=True, slots=True)
class Installed:
    """What an alert says of an installation."""

    version: str
    environment_id: str


def installed(session: Session, pairs: Collection[Pair]) -> dict[Pair, Installed]:
    """What is recorded as installed on these pairs."""
    found: dict[Pair, Installed] = {}
    whose = (Installation.client_id, Installation.project_id)
    for chunk in _chunks(pairs):
        query = select(*whose, Installation.version, Installation.environment_id).where(
            Installation.status != "uninstalled", is_pair_of(session, whose, chunk)
        )
        found.update({(row[0], row[1]): Installed(row[2], row[3]) for row in session.execute(query)})
    return found


def due_alerts(session: Session, now: datetime, limit: int = 500) -> Sequence[Alert]:
    """Alerts that time alone changes now; what another transaction has in hand is passed over."""
    query = (
        select(Alert)
        .where(Alert.resolved_at.is_(None), Alert.due_at <= now)
        .order_by(Alert.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return session.scalars(query).all()


def list_alerts(
    session: Session,
    *,
    status: str | None,
    project_id: str | None,
    client_id: str | None,
    limit: int,
    cursor: str | None,
) -> Sequence[Alert]:
    """Alerts that fired, newest first. The cursor is the last one's id."""
    query = select(Alert).where(Alert.fired_at.is_not(None))
    if status is not None:
        query = query.where(_is_in(status))
    if project_id is not None:
        query = query.where(Alert.project_id == project_id)
    if client_id is not None:
        query = query.where(Alert.client_id == client_id)
    return page_of(session, query, Alert.id, limit=limit, cursor=cursor, newest_first=True)


def _is_in(status: str) -> ColumnElement[bool]:
    return Alert.resolved_at.is_(None) if status == "firing" else Alert.resolved_at.is_not(None)


def active_silences(session: Session, now: datetime) -> Sequence[Silence]:
    """Silences that hold now."""
    return session.scalars(select(Silence).where(and_(Silence.starts_at <= now, Silence.ends_at > now))).all()


def orphans(session: Session, types: Collection[str], limit: int = 500) -> Sequence[Alert]:
    """Alerts of what is not installed (any more): nobody's report will end them."""
    return _unresolved(session, types, limit, ~_is_installed())


def container_orphans(
    session: Session, types: Collection[str], reported_before: datetime, limit: int = 500
) -> Sequence[Alert]:
    """Likewise of containers; those of a client that goes on reporting its containers are ended by its reports."""
    goes_on = _has_reported(LatestContainerReport, LatestContainerReport.received_at >= reported_before)
    return _unresolved(session, types, limit, ~_is_installed(), ~goes_on)


def pod_orphans(
    session: Session, types: Collection[str], reported_before: datetime, limit: int = 500
) -> Sequence[Alert]:
    """Likewise of pods; those of what is installed, too, where the client has no newest report of any (any more)."""
    goes_on = _has_reported(LatestPodReport, LatestPodReport.received_at >= reported_before)
    nobody = ~_is_installed() | ~_has_reported(LatestPodReport)
    return _unresolved(session, types, limit, nobody, ~goes_on)


def _unresolved(
    session: Session, types: Collection[str], limit: int, *conditions: ColumnElement[bool]
) -> Sequence[Alert]:
    query = select(Alert).where(Alert.resolved_at.is_(None), Alert.type.in_(types), *conditions)
    return session.scalars(query.limit(limit).with_for_update(skip_locked=True)).all()


def _is_installed() -> ColumnElement[bool]:
    return exists().where(
        Installation.client_id == Alert.client_id,
        Installation.project_id == Alert.project_id,
        Installation.status.in_(("installed", "failed")),
    )


def _has_reported(
    table: type[LatestContainerReport | LatestPodReport], *which: ColumnElement[bool]
) -> ColumnElement[bool]:
    return exists().where(table.client_id == Alert.client_id, *which)


def alerts_of_project(session: Session, project_id: str) -> Sequence[Alert]:
    """A project's alerts that wait or fire, locked until the transaction's end."""
    query = select(Alert).where(Alert.project_id == project_id, Alert.resolved_at.is_(None))
    return session.scalars(query.order_by(Alert.id).with_for_update()).all()


def _chunks(items: Iterable[T]) -> Iterable[list[T]]:
    wanted = sorted(set(items))  # type: ignore[type-var]  # ids, and pairs of them
    for start in range(0, len(wanted), CHUNK):
        yield wanted[start : start + CHUNK]
