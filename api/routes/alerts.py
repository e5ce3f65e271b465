"""Alerts: /release/alerts."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.body import StrictRoute
from api.calls import Asked
from api.pagination import Cursor, Limit, cut_page, decode_cursor, page_response
from api.schemas.alerts import AlertAnswer, AlertStatus
from db.ids import is_id
from db.models import Alert
from db.queries import projects
from db.queries.alerts import list_alerts
from tasks.alerting.silencing import Silencing

router = APIRouter(prefix="/release/alerts", tags=["alerts"], route_class=StrictRoute)


@router.get("", response_model=list[AlertAnswer])
def list_all(
    call: Asked,
    *,
    status: AlertStatus | None = None,
    project_id: Annotated[str | None, Query(max_length=100, description="An id or a name.")] = None,
    client_id: Annotated[str | None, Query(max_length=63)] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """List alerts, newest first. One that waits to fire is none yet."""
    after = decode_cursor(cursor, is_id)
    with call.database.read() as session:
        project = projects.get_project(session, project_id) if project_id is not None else None
        found = list_alerts(
            session,
            status=status,
            project_id=project.id if project else None,
            client_id=client_id,
            limit=limit + 1,
            cursor=after,
        )
        rows, next_key = cut_page(found, limit, lambda row: row.id)
        silencing = Silencing(session, call.now)
        return page_response(call.url, [_answer(row, silencing) for row in rows], next_key)


def _answer(alert: Alert, silencing: Silencing) -> AlertAnswer:
    firing = alert.resolved_at is None
    assert alert.fired_at is not None
    return AlertAnswer(
        id=alert.id,
        type=alert.type,
        level=alert.level,
        status="firing" if firing else "resolved",
        source=alert.source,
        client_id=alert.client_id,
        project_id=alert.project_id,
        title=alert.title,
        message=alert.message,
        labels=alert.labels,
        value=alert.value,
        threshold=alert.threshold,
        fired_at=alert.fired_at,
        resolved_at=alert.resolved_at,
        fingerprint=alert.fingerprint,
        silenced=firing and silencing.silences(alert),
    )
