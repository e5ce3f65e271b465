"""Clients, and the targets that they are."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, delete, func, or_, select
from sqlalchemy.orm import Session

from db.errors import RowNotFoundError
from db.history.dialects import is_one_of
from db.history.forgetting import forget_client
from db.ids import is_id
from db.models import (
    Client,
    DeployResult,
    DeployTask,
    Installation,
    LatestContainerReport,
    LatestPodReport,
    LatestProcessReport,
    Target,
)
from db.queries.paging import escaped, page_of

IN_HAND = ("running", "canary", "paused", "rolling_back")
"""Statuses of a deploy task whose clients may be in flight, or are to be gone on with."""


def find_client(session: Session, client_id: str) -> Client | None:
    """The client of this name."""
    return None if "\x00" in client_id else session.get(Client, client_id)


def get_client(session: Session, client_id: str) -> Client:
    """The client of this name. Raises RowNotFoundError."""
    client = find_client(session, client_id)
    if client is None:
        raise RowNotFoundError(f"there is no client {escaped(client_id)}")
    return client


def list_clients(session: Session, *, limit: int | None = 100, cursor: str | None = None) -> Sequence[Client]:
    """Clients by name; the cursor is the last one's name."""
    return page_of(session, select(Client), Client.client_id, limit=limit, cursor=cursor)


def find_client_by_report_token(session: Session, token_sha256: str, now: datetime) -> Client | None:
    """Whose report token this is: the current one, or the one before while its overlap lasts."""
    return session.scalar(
        select(Client).where(
            or_(
                Client.report_token_sha256 == token_sha256,
                (Client.old_report_token_sha256 == token_sha256) & (Client.old_report_token_until > now),
            )
        )
    )


def delete_client(session: Session, client_id: str) -> None:
    """Forget a client: its targets, installations and reports go with it; results, other history and audit stay."""
    forget_client(session, client_id)
    session.execute(delete(Installation).where(Installation.client_id == client_id))
    session.execute(delete(Target).where(Target.client_id == client_id))
    session.execute(delete(Client).where(Client.client_id == client_id))


def deploy_task_in_hand(session: Session, client_id: str) -> str | None:
    """The deploy task that is going on, interrupted, or waits for its time to go on, and has the client in its plan."""
    waits = (DeployTask.status == "scheduled") & DeployTask.started_at.is_not(None)
    return session.scalar(
        select(DeployTask.id)
        .join(DeployResult, DeployResult.deploy_task_id == DeployTask.id)
        .where(DeployResult.client_id == client_id, or_(DeployTask.status.in_(IN_HAND), waits))
        .limit(1)
    )


def delete_target(session: Session, target: Target) -> None:
    """Take a client out of an environment: what was installed there goes with it, its history stays."""
    session.execute(delete(Installation).where(Installation.target_id == target.id))
    session.execute(delete(Target).where(Target.id == target.id))


def get_target(session: Session, target_id: str) -> Target:
    """The target with this id. Raises RowNotFoundError."""
    target = session.get(Target, target_id.lower()) if is_id(target_id) else None
    if target is None:
        raise RowNotFoundError(f"there is no target {escaped(target_id)}")
    return target


def list_targets(
    session: Session, environment_id: str, *, limit: int | None = 100, cursor: str | None = None
) -> Sequence[Target]:
    """An environment's targets, oldest first; the cursor is the last one's id."""
    query = select(Target).where(Target.environment_id == environment_id)
    return page_of(session, query, Target.id, limit=limit, cursor=cursor)


def held_clients(session: Session, now: datetime) -> dict[str, str]:
    """Who is held now, and why."""
    rows = session.scalars(select(Client).where(Client.held_reason.is_not(None)))
    return {row.client_id: row.held_reason or "held" for row in rows if row.is_held(now)}


def newest_reports(session: Session, *which: ColumnElement[bool]) -> Mapping[str, datetime]:
    """When the newest report of each of these clients came, of whatever kind."""
    newest: dict[str, datetime] = {}
    for table in (LatestProcessReport, LatestContainerReport, LatestPodReport):
        for client_id, at in received_at(session, table, *which).items():
            newest[client_id] = max(at, newest.get(client_id, at))
    return newest


def reported_since(session: Session, client_ids: Collection[str], when: datetime) -> set[str]:
    """Those of these clients that have reported since then."""
    newest = newest_reports(session, is_one_of(Client.client_id, client_ids))
    return {client_id for client_id, at in newest.items() if at > when}


def received_at(
    session: Session,
    table: type[LatestProcessReport | LatestContainerReport | LatestPodReport],
    *which: ColumnElement[bool],
) -> Mapping[str, datetime]:
    """When the newest report of this kind came, by client."""
    query = select(table.client_id, func.max(table.received_at)).join(
        Client, Client.client_id == table.client_id
    )
    return {row[0]: row[1] for row in session.execute(query.where(*which).group_by(table.client_id))}
