"""Projects: /release/projects."""

from typing import Any

from fastapi import APIRouter
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.responses import Response

from api.body import StrictRoute
from api.calls import Asked, Posted
from api.errors import conflict, taken
from api.idempotency import perform
from api.kubernetes_rules import set_kubernetes
from api.naming import set_naming
from api.pagination import Cursor, Limit, cut_page, decode_cursor, page_response
from api.replies import Reply
from api.schemas.projects import ProjectAnswer, ProjectChange, ProjectCreate
from api.trail import record
from db.history.forgetting import forget_project
from db.ids import is_id
from db.models import DeployTask, Environment, Installation, Project, Target, Version
from db.queries import projects
from db.queries.alerts import alerts_of_project
from tasks.alerting.changing import end_alert

router = APIRouter(prefix="/release/projects", tags=["projects"], route_class=StrictRoute)


def project_answer(project: Project) -> ProjectAnswer:
    """The project, on the wire."""
    return ProjectAnswer(
        id=project.id,
        name=project.name,
        type=project.type,
        description=project.description,
        default_strategy=project.default_strategy,
        container_naming=project.container_naming,
        container_config=project.container_config,
        kubernetes_config=project.kubernetes_config,
        created_at=project.created_at,
        updated_at=project.updated_at,
    )


@router.post("", status_code=201, response_model=ProjectAnswer)
def create_project(body: ProjectCreate, call: Posted) -> Response:
    """Register a project."""

    def change(session: Session) -> Reply:
        _check_name_is_free(session, body.name)
        project = Project(
            name=body.name,
            type=body.type,
            description=body.description,
            default_strategy=body.default_strategy,
            container_config=body.container_config,
        )
        set_naming(session, project, body.container_naming)
        set_kubernetes(project, body.kubernetes_config)
        session.add(project)
        session.flush()
        record(session, call, "project.create", project.name, project_id=project.id)
        return Reply(201, project_answer(project))

    return perform(call, change)


@router.get("", response_model=list[ProjectAnswer])
def list_projects(call: Asked, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """List projects."""
    with call.database.read() as session:
        found = projects.list_projects(session, limit=limit + 1, cursor=decode_cursor(cursor, is_id))
        rows, after = cut_page(found, limit, lambda row: row.id)
        return page_response(call.url, [project_answer(row) for row in rows], after)


@router.get("/{project}", response_model=ProjectAnswer)
def get_project(project: str, call: Asked) -> Response:
    """One project, by id or name."""
    with call.database.read() as session:
        return Reply(200, project_answer(projects.get_project(session, project))).response()


@router.patch("/{project}", response_model=ProjectAnswer)
def change_project(project: str, body: ProjectChange, call: Asked) -> Response:
    """Change a project."""
    with call.database.write() as session:
        row = projects.get_project(session, project)
        if "name" in body.model_fields_set and body.name != row.name:
            _check_name_is_free(session, body.name)
        for field in body.model_fields_set - {"container_naming", "kubernetes_config"}:
            setattr(row, field, getattr(body, field))
        if "container_naming" in body.model_fields_set:
            set_naming(session, row, body.container_naming)
        if "kubernetes_config" in body.model_fields_set:
            set_kubernetes(row, body.kubernetes_config)
        row.updated_at = call.now
        session.flush()
        detail = {"fields": sorted(body.model_fields_set)}
        record(session, call, "project.change", row.name, project_id=row.id, detail=detail)
        return Reply(200, project_answer(row)).response()


@router.delete("/{project}", status_code=204)
def delete_project(project: str, call: Asked) -> Response:
    """Delete a project that nothing refers to; its alerts end."""
    with call.database.write() as session:
        row = projects.get_project(session, project)
        _check_unreferenced(session, row)
        record(session, call, "project.delete", row.name, project_id=row.id)
        forget_project(session, row.id)
        for alert in alerts_of_project(session, row.id):
            end_alert(session, alert, call.now)
        session.delete(row)
    return Reply(204).response()


def _check_name_is_free(session: Session, name: str) -> None:
    if projects.find_project(session, name) is not None:
        raise taken("project name", name)


def _check_unreferenced(session: Session, project: Project) -> None:
    tables: dict[str, Any] = {
        "deploy tasks": DeployTask,
        "installations": Installation,
        "targets": Target,
        "versions": Version,
        "environments": Environment,
    }
    counts = {
        name: session.scalar(select(func.count()).select_from(table).where(table.project_id == project.id))
        or 0
        for name, table in tables.items()
    }
    there = [f"{count} {name}" for name, count in counts.items() if count]
    if there:
        raise conflict(f"cannot delete project {project.name}: it has {', '.join(there)}")
