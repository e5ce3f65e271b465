"""Versions: /release/versions, /release/projects/{project}/versions."""

from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.responses import Response

from agent.wire.processes import ProcessConfig
from api.body import StrictRoute
from api.calls import Asked, Posted
from api.errors import conflict, taken
from api.idempotency import perform
from api.pagination import Cursor, Limit, cut_page, decode_cursor, page_response
from api.replies import Reply
from api.schemas.versions import VersionAnswer, VersionChange, VersionCreate, VersionStatus
from api.secrecy import shown_to
from api.trail import record
from api.version_rules import check_fits
from db.documents.evidence import EvidenceConfig
from db.ids import is_id
from db.models import Project, Version
from db.queries import projects, versions

router = APIRouter(prefix="/release", tags=["versions"], route_class=StrictRoute)
FROZEN = frozenset(
    {"install_script", "update_script", "rollback_script", "uninstall_script", "deploy_config"}
)
"""What does not change once a deploy task used it: the plan's digest covers it."""


def version_answer(row: Version) -> VersionAnswer:
    """The version, on the wire."""
    fields = {name: getattr(row, name) for name in VersionAnswer.model_fields}
    fields["process_config"] = row.process_config or ProcessConfig()
    fields["evidence"] = row.evidence or EvidenceConfig()
    return VersionAnswer.model_validate(fields)


@router.post("/versions", status_code=201, response_model=VersionAnswer)
def create_version(body: VersionCreate, call: Posted) -> Response:
    """Register a version of a project."""

    def change(session: Session) -> Reply:
        project = projects.get_project(session, body.project_id)
        check_fits(project.type, body)
        if versions.find_version(session, project.id, body.version) is not None:
            raise taken("version", body.version)
        fields = {name: getattr(body, name) for name in VersionCreate.model_fields}
        row = Version(**{**fields, "project_id": project.id})
        session.add(row)
        session.flush()
        record(session, call, "version.create", f"{project.name} {row.version}", project_id=project.id)
        return Reply(201, version_answer(row))

    return perform(call, change)


@router.get("/projects/{project}/versions", response_model=list[VersionAnswer])
def list_versions(
    project: str,
    call: Asked,
    status: VersionStatus | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """List a project's versions."""
    after = decode_cursor(cursor, is_id)
    with call.database.read() as session:
        owner = projects.get_project(session, project)
        found = versions.list_versions(session, owner.id, status=status, limit=limit + 1, cursor=after)
        rows, next_key = cut_page(found, limit, lambda row: row.id)
        return page_response(
            call.url, [shown_to(call.principal, version_answer(row)) for row in rows], next_key
        )


@router.get("/versions/{version_id}", response_model=VersionAnswer)
def get_version(version_id: str, call: Asked) -> Response:
    """One version."""
    with call.database.read() as session:
        answer = version_answer(versions.get_version(session, version_id))
        return Reply(200, shown_to(call.principal, answer)).response()


@router.patch("/versions/{version_id}", response_model=VersionAnswer)
def change_version(version_id: str, body: VersionChange, call: Asked) -> Response:
    """Change a version; its scripts only until a deploy task used them."""
    with call.database.write() as session:
        row = versions.get_version(session, version_id)
        changed = {name for name in body.model_fields_set if getattr(body, name) != getattr(row, name)}
        if changed & FROZEN and versions.is_used(session, row):
            names = ", ".join(sorted(changed & FROZEN))
            raise conflict(
                f"cannot change {names} of version {row.version}: a deploy task used it; make a new version"
            )
        for name in changed:
            setattr(row, name, getattr(body, name))
        check_fits(session.get_one(Project, row.project_id).type, row)
        row.updated_at = call.now
        session.flush()
        detail = {"fields": sorted(changed)}
        record(
            session,
            call,
            "version.change",
            f"version {row.version}",
            project_id=row.project_id,
            detail=detail,
        )
        return Reply(200, version_answer(row)).response()
