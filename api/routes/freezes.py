"""Freezes: /release/freezes. While one lasts, no deploy task it covers is started, and none begins another wave."""

from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.responses import Response

from api.body import StrictRoute
from api.calls import Asked, Posted
from api.errors import invalid
from api.idempotency import perform
from api.pagination import Cursor, Limit, cut_page, decode_cursor, page_response
from api.replies import Reply
from api.schemas.freezes import FreezeAnswer, FreezeCreate
from api.trail import record
from db.ids import is_id
from db.models import Freeze
from db.queries import projects
from db.queries.freezes import get_freeze
from db.queries.freezes import list_freezes as find_freezes

router = APIRouter(prefix="/release/freezes", tags=["freezes"], route_class=StrictRoute)


def freeze_answer(freeze: Freeze) -> FreezeAnswer:
    """The freeze, on the wire."""
    return FreezeAnswer.model_validate({name: getattr(freeze, name) for name in FreezeAnswer.model_fields})


@router.post("", status_code=201, response_model=FreezeAnswer)
def create_freeze(body: FreezeCreate, call: Posted) -> Response:
    """Stop the line: everywhere, for a project, or for one of its environments."""
    if body.until is not None and body.until <= call.now:
        raise invalid("until", "must be in the future")

    def change(session: Session) -> Reply:
        project = projects.get_project(session, body.project_id) if body.project_id else None
        environment = None
        if project is not None and body.environment is not None:
            environment = projects.find_environment(session, project.id, body.environment)
            if environment is None:
                raise invalid("environment", f"project {project.name} has no such environment")
        freeze = Freeze(
            project_id=project.id if project else None,
            environment_id=environment.id if environment else None,
            reason=body.reason,
            until=body.until,
            who=call.who,
        )
        session.add(freeze)
        session.flush()
        said = {"reason": body.reason[:200], "until": body.until.isoformat() if body.until else None}
        record(session, call, "freeze.create", freeze.id, project_id=freeze.project_id, detail=said)
        return Reply(201, freeze_answer(freeze))

    return perform(call, change)


@router.get("", response_model=list[FreezeAnswer])
def list_freezes(call: Asked, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """List the freezes that last, the newest first."""
    after = decode_cursor(cursor, is_id)
    with call.database.read() as session:
        found = find_freezes(session, call.now, limit=limit + 1, cursor=after)
        rows, next_key = cut_page(found, limit, lambda row: row.id)
        return page_response(call.url, [freeze_answer(row) for row in rows], next_key)


@router.delete("/{freeze_id}", status_code=204)
def lift_freeze(freeze_id: str, call: Asked) -> Response:
    """Lift it now: runs that wait for it go on."""
    with call.database.write() as session:
        freeze = get_freeze(session, freeze_id)
        record(session, call, "freeze.delete", freeze.id, project_id=freeze.project_id)
        session.delete(freeze)
    return Reply(204).response()
