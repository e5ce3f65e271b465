"""Installations: /release/projects/{project}/installations."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import Response

from api.body import StrictRoute
from api.calls import Asked, Posted
from api.errors import invalid
from api.idempotency import perform
from api.pagination import Cursor, Limit, cut_page, decode_cursor, page_response
from api.replies import Reply
from api.schemas.installations import AdoptRequest, InstallationAnswer, InstallationStatus
from api.trail import record
from db.ids import is_id
from db.models import Environment, Installation, Target
from db.queries import clients, installations, projects

router = APIRouter(
    prefix="/release/projects/{project}/installations", tags=["installations"], route_class=StrictRoute
)
CLOCK_SKEW = timedelta(minutes=5)
Filter = Annotated[str | None, Query(max_length=100)]


@router.get("", response_model=list[InstallationAnswer])
def list_installations(
    project: str,
    call: Asked,
    *,
    version: Filter = None,
    environment: Annotated[str | None, Query(max_length=100, description="A name or an id.")] = None,
    status: InstallationStatus | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """List who has the project, in which version."""
    after = decode_cursor(cursor, is_id)
    with call.database.read() as session:
        owner = projects.get_project(session, project)
        found = installations.list_installations(
            session,
            owner.id,
            version=version,
            environment=environment,
            status=status,
            limit=limit + 1,
            cursor=after,
        )
        rows, next_key = cut_page(found, limit, lambda row: row.id)
        return page_response(call.url, installation_answers(session, rows), next_key)


@router.post(
    "",
    status_code=201,
    response_model=InstallationAnswer,
    responses={200: {"model": InstallationAnswer, "description": "It was recorded before, and is replaced."}},
)
def adopt_installation(project: str, body: AdoptRequest, call: Posted) -> Response:
    """Record what a target has already; nothing is run there."""
    installed_at = body.installed_at or call.now
    if installed_at > call.now + CLOCK_SKEW:
        raise invalid("installed_at", "must not be in the future")

    def change(session: Session) -> Reply:
        owner = projects.get_project(session, project)
        target = clients.get_target(session, body.target_id)
        if target.project_id != owner.id:
            raise invalid("target_id", "is a target of another project")
        row, created = installations.adopt_installation(session, target, body.version, installed_at, call.now)
        session.flush()
        subject = f"{owner.name} {row.version} on {row.client_id}"
        record(session, call, "installation.adopt", subject, project_id=owner.id, client_id=row.client_id)
        return Reply(201 if created else 200, installation_answers(session, [row])[0])

    return perform(call, change)


def installation_answers(session: Session, rows: Sequence[Installation]) -> list[InstallationAnswer]:
    """The installations, on the wire, with their targets' and environments' names."""
    targets = {row.target_id for row in rows}
    environments = {row.environment_id for row in rows}
    target_names = dict(
        session.execute(select(Target.id, Target.name).where(Target.id.in_(targets))).tuples().all()
    )
    environment_names = dict(
        session.execute(select(Environment.id, Environment.name).where(Environment.id.in_(environments)))
        .tuples()
        .all()
    )
    own = [name for name in InstallationAnswer.model_fields if name not in ("target_name", "environment")]
    return [
        InstallationAnswer.model_validate(
            {name: getattr(row, name) for name in own}
            | {
                "target_name": target_names[row.target_id],
                "environment": environment_names[row.environment_id],
            }
        )
        for row in rows
    ]
