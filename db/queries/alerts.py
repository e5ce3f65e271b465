"""Alerts, and what they are judged by."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    String,
    Text,
    and_,
    bindparam,
    cast,
    exists,
    null,
    select,
    type_coerce,
    union_all,
)
from sqlalchemy.orm import Session

from db.history.dialects import insert_into, is_one_of
from db.models import (
    Alert,
    AlertMemory,
    Installation,
    LatestContainerReport,
    LatestPodReport,
    Silence,
    Version,
)
from db.queries.paging import page_of
from db.rows import read_rows
from db.types import IdType

Pair = tuple[str, str]
"""A client's id and a project's."""


def _of(pairs: Collection[Pair]) -> dict[str, list[str]]:
    """The parameters of `_is_in_pairs`."""
    clients, projects = ({one[place] for one in pairs} for place in (0, 1))
    return {"clients": sorted(clients), "projects": sorted(projects)}


def _is_in_pairs(table: Any) -> ColumnElement[bool]:
    """Whether a row is one of the pairs', or of a pair put together of theirs otherwise: callers look theirs up.

    A join with the pairs would be exact, and PostgreSQL plans it badly: it reads a whole project for each pair.
    """
    return and_(is_one_of(table.client_id, "clients"), is_one_of(table.project_id, "projects"))


def fingerprint_of(project_id: str | None, client_id: str | None, subject: str, type_: str) -> str:
    """What tells an alert from every other one."""
    said = "\x00".join((project_id or "", client_id or "", subject, type_))
    return hashlib.sha256(said.encode()).hexdigest()


def live_alerts(session: Session, pairs: Collection[Pair], types: Collection[str]) -> Sequence[Alert]:
    """Alerts of these types that wait or fire on these clients of these projects, locked until the transaction's end.

    Time alone changes them meanwhile, in another transaction: both would tell of the same.
    """
    ids = [row[0] for row in read_rows(session, _LIVE, {**_of(pairs), "types": sorted(types)})]
    return session.scalars(select(Alert).where(is_one_of(Alert.id, ids))).all() if ids else []


_LIVE = (
    select(Alert.id)
    .where(Alert.resolved_at.is_(None), is_one_of(Alert.type, "types"), _is_in_pairs(Alert))
    .order_by(Alert.id)
    .with_for_update()
)


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


@dataclass(frozen=True, slots=True)
class Installed:
    """What is installed on a pair, and what its version says of its processes, as the JSON that is kept."""

    version: str
    environment_id: str
    process_config: str | None


def read_known(
    session: Session, pairs: Collection[Pair], kind: str
) -> tuple[dict[Pair, Installed], dict[Pair, str]]:
    """What is installed on these pairs, and, as JSON, what was remembered of each one's last judged report of that kind."""
    there: dict[Pair, Installed] = {}
    remembered: dict[Pair, str] = {}
    rows = read_rows(session, _KNOWN, {**_of(pairs), "kind": kind})
    for client_id, project_id, version, environment_id, document in rows:
        if version is not None:
            there[(client_id, project_id)] = Installed(version, environment_id, document)
        else:
            remembered[(client_id, project_id)] = document
    return there, remembered


_KNOWN = union_all(
    select(
        Installation.client_id,
        Installation.project_id,
        Installation.version,
        Installation.environment_id,
        cast(type_coerce(Version.process_config, Text), Text),
    )
    .outerjoin(
        Version,
        and_(Version.project_id == Installation.project_id, Version.version == Installation.version),
    )
    .where(Installation.status != "uninstalled", _is_in_pairs(Installation)),
    select(
        AlertMemory.client_id,
        AlertMemory.project_id,
        cast(null(), String),
        cast(null(), IdType),
        cast(type_coerce(AlertMemory.document, Text), Text),
    ).where(AlertMemory.kind == bindparam("kind"), _is_in_pairs(AlertMemory)),
)
"""One statement: each has its price, whatever it reads, and this is asked with every batch of reports."""


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
