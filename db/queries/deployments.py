"""What deploy tasks are at work on, or were, client by client: what alerts are judged by."""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, literal_column, or_, select
from sqlalchemy.orm import Session

from db.history.dialects import is_one_of
from db.models import DeployResult, DeployTask
from db.queries.alerts import Pair
from db.queries.deploy_tasks import is_going_back

UNDER_WAY = ("running", "canary", "rolling_back")
LEFT_ALONE = timedelta(hours=2)


def deploying_pairs(session: Session, client_ids: Collection[str], now: datetime) -> set[Pair]:
    """The pairs of these clients that a deploy task is at work on now, forward or back.

    A run that is gone, or was cancelled, leaves scripts that go on: they count for two hours from their start.
    """
    under_way = DeployTask.status.in_(UNDER_WAY) & or_(DeployResult.status == "running", is_going_back())
    left_alone = or_(
        (DeployResult.status == "running") & (DeployResult.started_at > now - LEFT_ALONE),
        is_going_back(since=now - LEFT_ALONE),
    )
    query = (
        select(DeployResult.client_id, DeployTask.project_id)
        .join(DeployTask, DeployTask.id == DeployResult.deploy_task_id)
        .where(_may_be_under_way(), or_(under_way, left_alone), is_one_of(DeployResult.client_id, client_ids))
    )
    return {(client_id, project_id) for client_id, project_id in session.execute(query)}


def _may_be_under_way() -> ColumnElement[bool]:
    # In the words of its index (MAY_BE_UNDER_WAY), which a parameter would hide from the planner.
    return or_(DeployResult.status == literal_column("'running'"), DeployResult.rollback.is_not(None))


def ended_deployments(
    session: Session, client_ids: Collection[str], since: datetime
) -> dict[Pair, list[tuple[datetime, datetime]]]:
    """From when to when deploy tasks were at work on these clients, forward or back, of those that ended after `since`."""
    query = (
        select(
            DeployResult.client_id,
            DeployTask.project_id,
            DeployResult.started_at,
            DeployResult.finished_at,
            DeployResult.rollback,
        )
        .join(DeployTask, DeployTask.id == DeployResult.deploy_task_id)
        .where(
            is_one_of(DeployResult.client_id, client_ids),
            or_(DeployResult.finished_at >= since, DeployResult.rollback.is_not(None)),
        )
    )
    found: dict[Pair, list[tuple[datetime, datetime]]] = defaultdict(list)
    for client_id, project_id, started_at, finished_at, rollback in session.execute(query):
        times = [(started_at, finished_at)]
        if rollback is not None:
            times.append((rollback.started_at, rollback.finished_at))
        found[(client_id, project_id)].extend(
            (began, ended) for began, ended in times if began is not None and ended is not None
        )
    return found


def last_deployed(session: Session, client_id: str, project_id: str) -> tuple[str, str] | None:
    """The deploy task that changed the client last, and the version that it brought, or brought back."""
    query = (
        select(DeployTask.id, DeployTask.version, DeployResult.status, DeployResult.rollback)
        .join(DeployResult, DeployResult.deploy_task_id == DeployTask.id)
        .where(
            DeployTask.project_id == project_id,
            DeployResult.client_id == client_id,
            DeployResult.finished_at.is_not(None),
            DeployResult.ran.is_not(False),
            DeployResult.status != "skipped",
        )
        .order_by(DeployResult.finished_at.desc())
        .limit(1)
    )
    row = session.execute(query).first()
    if row is None:
        return None
    version = row.rollback.to_version if row.status == "rolled_back" and row.rollback else row.version
    return row.id, version or "its previous version"
