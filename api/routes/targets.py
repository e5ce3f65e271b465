"""Targets: /release/environments/{environment_id}/targets."""

from fastapi import APIRouter
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import Response

from api.body import StrictRoute
from api.calls import Asked, Posted
from api.errors import Refused, conflict, invalid
from api.idempotency import perform
from api.pagination import Cursor, Limit, cut_page, decode_cursor, page_response
from api.replies import Reply
from api.routes.clients import check_not_in_hand
from api.schemas.clients import TargetAnswer, TargetCreate
from api.trail import record
from db.ids import is_id
from db.models import Environment, Project, Target
from db.queries import clients, projects

router = APIRouter(
    prefix="/release/environments/{environment_id}/targets", tags=["clients"], route_class=StrictRoute
)


def target_answer(target: Target) -> TargetAnswer:
    """The target, on the wire."""
    return TargetAnswer.model_validate({name: getattr(target, name) for name in TargetAnswer.model_fields})


@router.post("", status_code=201, response_model=TargetAnswer)
def create_target(environment_id: str, body: TargetCreate, call: Posted) -> Response:
    """Put a client into an environment."""

    def change(session: Session) -> Reply:
        environment = projects.get_environment(session, environment_id)
        kind = _type_in(session.get_one(Project, environment.project_id), body.type)
        client = clients.get_client(session, body.client_id)
        _check_is_in_no_other(session, environment, client.client_id)
        asked = {**body.model_dump(), "type": kind}
        target = Target(project_id=environment.project_id, environment_id=environment.id, **asked)
        session.add(target)
        session.flush()
        subject = f"{environment.name}/{target.name}"
        record(
            session,
            call,
            "target.create",
            subject,
            project_id=target.project_id,
            client_id=client.client_id,
        )
        return Reply(201, target_answer(target))

    return perform(call, change)


@router.get("", response_model=list[TargetAnswer])
def list_targets(environment_id: str, call: Asked, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """List an environment's targets."""
    after = decode_cursor(cursor, is_id)
    with call.database.read() as session:
        environment = projects.get_environment(session, environment_id)
        found = clients.list_targets(session, environment.id, limit=limit + 1, cursor=after)
        rows, next_key = cut_page(found, limit, lambda row: row.id)
        return page_response(call.url, [target_answer(row) for row in rows], next_key)


@router.delete("/{target_id}", status_code=204)
def delete_target(environment_id: str, target_id: str, call: Asked) -> Response:
    """Take a client out of an environment; what was recorded as installed there goes with it, its history stays.

    Refused while a deploy task that has the client in its plan is going on.
    """
    with call.database.write() as session:
        environment = projects.get_environment(session, environment_id)
        target = clients.get_target(session, target_id)
        if target.environment_id != environment.id:
            raise Refused(404, f"environment {environment.name} has no such target")
        check_not_in_hand(session, target.client_id, f"delete target {target.name}")
        subject = f"{environment.name}/{target.name}"
        record(
            session,
            call,
            "target.delete",
            subject,
            project_id=target.project_id,
            client_id=target.client_id,
        )
        clients.delete_target(session, target)
    return Reply(204).response()


def _type_in(project: Project, said: str | None) -> str:
    """What a target of the project is. Raises Refused (422) where another one is asked for."""
    kind = "k8s-cluster" if project.type == "kubernetes" else "host"
    if said not in (None, kind):
        raise invalid("type", f"is {kind} in project {project.name}, which is of type {project.type}")
    return kind


def _check_is_in_no_other(session: Session, environment: Environment, client_id: str) -> None:
    mine = select(Target).where(Target.project_id == environment.project_id, Target.client_id == client_id)
    there = session.scalars(mine).one_or_none()
    if there is not None:
        name = session.get_one(Environment, there.environment_id).name
        raise conflict(
            f"cannot add client {client_id}: it is target {there.name!r} of the project's environment {name!r}"
        )
