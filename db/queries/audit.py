"""The audit trail: appended with the change, in its transaction; never updated."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import AuditEntry
from db.queries.paging import page_of


def append_audit(
    session: Session,
    *,
    now: datetime,
    who: str,
    action: str,
    subject: str,
    detail: dict[str, object] | None = None,
    project_id: str | None = None,
    client_id: str | None = None,
    deploy_task_id: str | None = None,
) -> None:
    """Write who did what to whom. `detail` is JSON and holds no secret."""
    session.add(
        AuditEntry(
            at=now,
            who=who[:200],
            action=action,
            subject=subject[:300],
            detail=detail or {},
            project_id=project_id,
            client_id=client_id,
            deploy_task_id=deploy_task_id,
        )
    )


def list_audit(
    session: Session,
    *,
    deploy_task_id: str | None = None,
    project_id: str | None = None,
    client_id: str | None = None,
    who: str | None = None,
    since: datetime | None = None,
    limit: int | None = 100,
    cursor: str | None = None,
) -> Sequence[AuditEntry]:
    """Entries, newest first; the cursor is the last one's id."""
    query = select(AuditEntry)
    wanted = (
        (AuditEntry.deploy_task_id, deploy_task_id),
        (AuditEntry.project_id, project_id),
        (AuditEntry.client_id, client_id),
        (AuditEntry.who, who),
    )
    for column, value in wanted:
        if value is not None:
            query = query.where(column == value)
    if since is not None:
        query = query.where(AuditEntry.at >= since)
    return page_of(session, query, AuditEntry.id, limit=limit, cursor=cursor, newest_first=True)
