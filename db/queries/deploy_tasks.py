"""Deploy tasks and their results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import JSON, ColumnElement, and_, func, select, type_coerce
from sqlalchemy.orm import Session, defer

from db.errors import RowNotFoundError
from db.ids import is_id
from db.models import DeployResult, DeployTask
from db.queries.paging import escaped, page_of


@dataclass(frozen=True, slots=True)
class Counts:
    """How many clients of a deploy task are where; they add up to `total`. `failed` includes the unreachable."""

    total: int = 0
    success: int = 0
    failed: int = 0
    pending: int = 0
    running: int = 0
    skipped: int = 0
    unknown: int = 0
    rolled_back: int = 0
    unreachable: int = 0


def counts_from(by_status: Mapping[str, int]) -> Counts:
    """The counts of so many results in each status."""
    unreachable = by_status.get("unreachable", 0)
    return Counts(
        total=sum(by_status.values()),
        success=by_status.get("success", 0),
        failed=by_status.get("failed", 0) + unreachable,
        pending=by_status.get("pending", 0),
        running=by_status.get("running", 0),
        skipped=by_status.get("skipped", 0),
        unknown=by_status.get("unknown", 0),
        rolled_back=by_status.get("rolled_back", 0),
        unreachable=unreachable,
    )


def is_going_back(since: datetime | None = None) -> ColumnElement[bool]:
    """Whether a result's client is being taken back (begun after `since`): its status says so only once that is over."""
    rollback = type_coerce(DeployResult.rollback, JSON)
    running: ColumnElement[bool] = rollback["status"].as_string() == "running"
    if since is None:
        return running
    return and_(
        running, rollback["started_at"].as_string() > since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    )


def clients_going_back(session: Session, deploy_task_id: str) -> list[str]:
    """The clients of a deploy task that are being taken back."""
    query = select(DeployResult.client_id).where(
        DeployResult.deploy_task_id == deploy_task_id, DeployResult.rollback.is_not(None), is_going_back()
    )
    return sorted(session.scalars(query))


def counts_of(session: Session, deploy_task_id: str) -> Counts:
    """A deploy task's counts, counted from its results."""
    return counts_of_many(session, [deploy_task_id])[deploy_task_id]


def counts_of_many(session: Session, deploy_task_ids: Sequence[str]) -> dict[str, Counts]:
    """The counts of several deploy tasks, in one query."""
    by_task: dict[str, dict[str, int]] = {task_id: {} for task_id in deploy_task_ids}
    query = (
        select(DeployResult.deploy_task_id, DeployResult.status, func.count())
        .where(DeployResult.deploy_task_id.in_(deploy_task_ids))
        .group_by(DeployResult.deploy_task_id, DeployResult.status)
    )
    for task_id, status, count in session.execute(query):
        by_task[task_id][status] = count
    return {task_id: counts_from(counts) for task_id, counts in by_task.items()}


def get_deploy_task(session: Session, deploy_task_id: str, *, lock: bool = False) -> DeployTask:
    """The deploy task with this id; `lock`: nobody else changes it in this transaction. Raises RowNotFoundError."""
    query = select(DeployTask).where(DeployTask.id == deploy_task_id.lower())
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    task = session.scalar(query) if is_id(deploy_task_id) else None
    if task is None:
        raise RowNotFoundError(f"there is no deploy task {escaped(deploy_task_id)}")
    return task


def find_by_request_key(session: Session, request_key: str) -> DeployTask | None:
    """The deploy task that was created under this key."""
    return session.scalar(select(DeployTask).where(DeployTask.request_key == request_key))


def list_deploy_tasks(
    session: Session,
    *,
    project_id: str | None = None,
    status: str | None = None,
    limit: int | None = 100,
    cursor: str | None = None,
) -> Sequence[DeployTask]:
    """Deploy tasks, newest first; plans are not read unless they are asked for. The cursor is the last one's id."""
    query = select(DeployTask).options(defer(DeployTask.plan))
    if project_id is not None:
        query = query.where(DeployTask.project_id == project_id)
    if status is not None:
        query = query.where(DeployTask.status == status)
    return page_of(session, query, DeployTask.id, limit=limit, cursor=cursor, newest_first=True)


def list_results(
    session: Session,
    deploy_task_id: str,
    *,
    status: str | None = None,
    limit: int | None = 100,
    cursor: str | None = None,
) -> Sequence[DeployResult]:
    """A deploy task's results by client, without their output; the cursor is the last one's client id."""
    query = select(DeployResult).options(defer(DeployResult.output))
    query = query.where(DeployResult.deploy_task_id == deploy_task_id)
    if status is not None:
        query = query.where(DeployResult.status == status)
    return page_of(session, query, DeployResult.client_id, limit=limit, cursor=cursor)


def get_result(session: Session, deploy_task_id: str, client_id: str) -> DeployResult:
    """One client's result, with its output. Raises RowNotFoundError."""
    found = None
    if is_id(deploy_task_id) and "\x00" not in client_id:
        found = session.scalar(
            select(DeployResult).where(
                DeployResult.deploy_task_id == deploy_task_id.lower(), DeployResult.client_id == client_id
            )
        )
    if found is None:
        raise RowNotFoundError(f"deploy task {escaped(deploy_task_id)} has no client {escaped(client_id)}")
    return found
