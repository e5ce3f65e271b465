"""What clients said of their containers: /release/projects/{project}/containers, /release/containers/overview."""

from collections import Counter

from fastapi import APIRouter
from starlette.responses import Response

from agent.naming import Claims
from agent.wire.containers import ContainerInfo
from api.body import StrictRoute
from api.calls import Asked
from api.replies import Reply
from api.schemas.containers import (
    ClientContainers,
    ContainersOverview,
    ContainerSummary,
    ProjectContainers,
    ProjectCount,
)
from db.models import Project
from db.queries import projects
from db.queries.containers import NewestReport, list_named_projects, list_newest_reports

router = APIRouter(prefix="/release", tags=["reports"], route_class=StrictRoute)


@router.get("/projects/{project}/containers", response_model=ProjectContainers)
def list_containers(project: str, call: Asked) -> Response:
    """A project's containers on every client: those that its prefix, as it is now, is the longest to cover."""
    with call.database.read() as session:
        owner = projects.get_project(session, project)
        claims = Claims(projects.list_claims(session))
        reports = list_newest_reports(session) if owner.container_prefix is not None else []
    found = [one for report in reports if (one := _of_project(report, owner, claims)) is not None]
    running = sum(one.state == "running" for client in found for one in client.containers)
    total = sum(len(client.containers) for client in found)
    summary = ContainerSummary(
        total_clients=len(found),
        total_containers=total,
        running_count=running,
        stopped_count=total - running,
    )
    answer = ProjectContainers(
        project_id=owner.id, prefix=owner.container_prefix, summary=summary, clients=tuple(found)
    )
    return Reply(200, answer).response()


def _of_project(report: NewestReport, owner: Project, claims: Claims) -> ClientContainers | None:
    mine = []
    for container in report.containers:
        claim = claims.owner_of(container["container_name"])
        if claim is not None and claim.project_id == owner.id:
            matched = {"matched_project": owner.name, "matched_prefix": claim.prefix}
            mine.append(ContainerInfo.model_validate({**container, **matched}))
    if not mine:
        return None
    return ClientContainers(
        client_id=report.client_id,
        containers=tuple(mine),
        last_report=report.reported_at,
        truncated=report.truncated,
    )


@router.get("/containers/overview", response_model=ContainersOverview)
def overview_containers(call: Asked) -> Response:
    """How many containers each project has on the whole fleet, and how many of them run."""
    with call.database.read() as session:
        named = list_named_projects(session)
        claims = Claims(projects.list_claims(session))
        reports = list_newest_reports(session)
    counts, running, total = Counter[str](), Counter[str](), 0
    for report in reports:
        total += len(report.containers)
        for container in report.containers:
            claim = claims.owner_of(container["container_name"])
            if claim is not None:
                counts[claim.project_id] += 1
                running[claim.project_id] += container["state"] == "running"
    by_project = tuple(
        ProjectCount(
            project_id=project_id,
            project_name=name,
            prefix=prefix,
            count=counts[project_id],
            running=running[project_id],
        )
        for project_id, name, prefix in named
    )
    return Reply(200, ContainersOverview(total_containers=total, by_project=by_project)).response()
