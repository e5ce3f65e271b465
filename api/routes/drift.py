"""What is recorded against what is observed: /release/projects/{project}/drift."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy.orm import Session
from starlette.responses import Response

from api.body import StrictRoute
from api.calls import Asked, Posted
from api.idempotency import perform
from api.pagination import Cursor, Limit, cut_page, decode_cursor, page_response
from api.replies import Reply
from api.schemas.drift import DriftAnswer, RepairAnswer, RepairRequest
from db.queries import projects
from tasks.decisions.drift import Drift
from tasks.planning.drifting import read_drift, repair

router = APIRouter(
    prefix="/release/projects/{project}/drift", tags=["installations"], route_class=StrictRoute
)


@router.get("", response_model=list[DriftAnswer])
def list_drift(
    project: str,
    call: Asked,
    *,
    drift: Annotated[Drift | None, Query(description="Only clients that have drifted so.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Each client's installation against its newest report; also clients that have something that is not installed."""
    after = decode_cursor(cursor, bool) or ""
    with call.database.read() as session:
        found = read_drift(session, projects.get_project(session, project), call.now)
    wanted = [one for one in found if drift in (None, one.drift) and one.client_id > after]
    rows, next_key = cut_page(wanted[: limit + 1], limit, lambda row: row.client_id)
    return page_response(call.url, [DriftAnswer(**asdict(row)) for row in rows], next_key)


@router.post("/repair", status_code=201, response_model=RepairAnswer)
def repair_drift(project: str, call: Posted, body: RepairRequest | None = None) -> Response:
    """Make deploy tasks that bring the recorded version once more to whom it is missing, or has another one.

    They are not started: look at their plans, then start them.
    """
    wish = body or RepairRequest()

    def change(session: Session) -> Reply:
        owner = projects.get_project(session, project)
        made = repair(
            session,
            owner,
            call.now,
            who=call.who,
            client_ids=wish.client_ids,
            environment=wish.environment,
        )
        return Reply(201, RepairAnswer(deploy_task_ids=tuple(task.id for task in made)))

    return perform(call, change)
