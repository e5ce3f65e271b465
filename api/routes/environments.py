"""Environments: /release/projects/{project}/environments."""

from fastapi import APIRouter
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session
from starlette.responses import Response

from api.body import StrictRoute
from api.calls import Asked, Posted
from api.errors import Refused, conflict, taken
from api.idempotency import perform
from api.pagination import Cursor, Limit, cut_page, decode_cursor, page_response
from api.replies import Reply
from api.schemas.projects import EnvironmentAnswer, EnvironmentChange, EnvironmentCreate
from api.trail import record
from db.ids import is_id
from db.models import Environment, Lease, Target
from db.queries import projects

router = APIRouter(
    prefix="/release/projects/{project}/environments", tags=["projects"], route_class=StrictRoute
)


def environment_answer(environment: Environment) -> EnvironmentAnswer:
    """The environment, on the wire."""
    return EnvironmentAnswer(
        id=environment.id,
        project_id=environment.project_id,
        name=environment.name,
        description=environment.description,
        require_approval=environment.require_approval,
        release_window=environment.release_window,
        created_at=environment.created_at,
        updated_at=environment.updated_at,
    )


@router.post("", status_code=201, response_model=EnvironmentAnswer)
def create_environment(project: str, body: EnvironmentCreate, call: Posted) -> Response:
    """Add an environment to a project."""

    def change(session: Session) -> Reply:
        owner = projects.get_project(session, project)
        if projects.find_environment(session, owner.id, body.name) is not None:
            raise taken("environment name", body.name)
        row = Environment(project_id=owner.id, **body.model_dump(exclude={"release_window"}))
        row.release_window = body.release_window
        session.add(row)
        session.flush()
        record(session, call, "environment.create", f"{owner.name}/{row.name}", project_id=owner.id)
        return Reply(201, environment_answer(row))

    return perform(call, change)


@router.patch("/{environment_id}", response_model=EnvironmentAnswer)
def change_environment(project: str, environment_id: str, body: EnvironmentChange, call: Asked) -> Response:
    """Change its description, its release window, or whether deploy tasks have to be approved."""
    with call.database.write() as session:
        row = _environment(session, project, environment_id)
        for name in sorted(body.model_fields_set):
            setattr(row, name, getattr(body, name))
        session.flush()
        said = {name: body.model_dump(mode="json")[name] for name in sorted(body.model_fields_set)}
        record(session, call, "environment.change", row.name, project_id=row.project_id, detail=said)
        return Reply(200, environment_answer(row)).response()


def _environment(session: Session, project: str, environment_id: str) -> Environment:
    owner = projects.get_project(session, project)
    row = projects.get_environment(session, environment_id)
    if row.project_id != owner.id:
        raise Refused(404, f"project {owner.name} has no such environment")
    return row


@router.delete("/{environment_id}", status_code=204)
def delete_environment(project: str, environment_id: str, call: Asked) -> Response:
    """Delete an environment that has no targets."""
    with call.database.write() as session:
        owner = projects.get_project(session, project)
        row = _environment(session, project, environment_id)
        targets = session.scalar(select(func.count()).where(Target.environment_id == row.id)) or 0
        if targets:
            raise conflict(f"cannot delete environment {row.name}: it has {targets} targets")
        record(session, call, "environment.delete", f"{owner.name}/{row.name}", project_id=owner.id)
        session.execute(delete(Lease).where(Lease.environment_id == row.id))
        session.delete(row)
    return Reply(204).response()


@router.get("", response_model=list[EnvironmentAnswer])
def list_environments(project: str, call: Asked, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """List a project's environments."""
    with call.database.read() as session:
        owner = projects.get_project(session, project)
        after = decode_cursor(cursor, is_id)
        found = projects.list_environments(session, owner.id, limit=limit + 1, cursor=after)
        rows, after = cut_page(found, limit, lambda row: row.id)
        return page_response(call.url, [environment_answer(row) for row in rows], after)
