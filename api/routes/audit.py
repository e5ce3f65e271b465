"""The audit trail: /release/audit."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from agent.wire.base import UtcDatetime
from api.body import StrictRoute
from api.calls import Asked
from api.errors import invalid
from api.pagination import Cursor, Limit, cut_page, decode_cursor, page_response
from api.schemas.audit import AuditAnswer
from db.ids import is_id
from db.models import AuditEntry
from db.queries import projects
from db.queries.audit import list_audit

router = APIRouter(prefix="/release/audit", tags=["audit"], route_class=StrictRoute)
Filter = Annotated[str | None, Query(max_length=200)]


@router.get("", response_model=list[AuditAnswer])
def list_entries(
    call: Asked,
    *,
    task_id: Filter = None,
    project_id: Filter = None,
    client_id: Filter = None,
    who: Filter = None,
    since: UtcDatetime | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """List who changed what, newest first."""
    if task_id is not None and not is_id(task_id):
        raise invalid("task_id", "is not an id")
    after = decode_cursor(cursor, is_id)
    with call.database.read() as session:
        if project_id is not None:
            named = projects.find_project(session, project_id)
            project_id = named.id if named else project_id
            if not is_id(project_id):
                raise invalid("project_id", "is neither an id nor a project's name")
        found = list_audit(
            session,
            deploy_task_id=task_id,
            project_id=project_id,
            client_id=client_id,
            who=who,
            since=since,
            limit=limit + 1,
            cursor=after,
        )
        rows, next_key = cut_page(found, limit, lambda row: row.id)
        return page_response(call.url, [_answer(row) for row in rows], next_key)


def _answer(entry: AuditEntry) -> AuditAnswer:
    return AuditAnswer(
        id=entry.id,
        at=entry.at,
        who=entry.who,
        action=entry.action,
        subject=entry.subject,
        detail=entry.detail,
        project_id=entry.project_id,
        client_id=entry.client_id,
        task_id=entry.deploy_task_id,
    )
