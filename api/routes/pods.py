"""What clients said of their pods: /release/projects/{project}/pods."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from fastapi import APIRouter
from starlette.responses import Response

from api.body import StrictRoute
from api.calls import Asked
from api.replies import Reply
from api.schemas.pods import ClientPods, PodSummary, ProjectPods, ReportedPod
from db.models import Project
from db.queries import projects
from db.queries.pods import NewestPods, list_newest_pods
from tasks.decisions.pod_matching import PodClaims
from tasks.decisions.pod_reports import Coverage, Said, current_pods
from tasks.planning.claims import load_pod_claims

router = APIRouter(prefix="/release", tags=["reports"], route_class=StrictRoute)


@router.get("/projects/{project}/pods", response_model=ProjectPods)
def list_pods(project: str, call: Asked) -> Response:
    """A project's pods in every client's cluster: those with its labels, or with its prefix, as both are now."""
    with call.database.read() as session:
        owner = projects.get_project(session, project)
        claims = load_pod_claims(session)
        reports = list_newest_pods(session)
    clients = tuple(_of_project(reports, owner, claims))
    pods = [pod for client in clients for pod in client.pods]
    ready = sum(pod.ready for pod in pods)
    summary = PodSummary(
        total_clients=len(clients),
        total_pods=len(pods),
        ready_count=ready,
        not_ready_count=len(pods) - ready,
        failed_count=sum(pod.phase == "Failed" for pod in pods),
    )
    answer = ProjectPods(project_id=owner.id, prefix=owner.container_prefix, summary=summary, clients=clients)
    return Reply(200, answer).response()


def _of_project(reports: Sequence[NewestPods], owner: Project, claims: PodClaims) -> Iterator[ClientPods]:
    """The clients that have pods of it; the reports come by client."""
    for client_id, theirs in groupby(reports, key=lambda one: one.client_id):
        mine, said = [], list(theirs)
        for pod, at in current_pods([_said(one) for one in said]):
            if claims.owner_of(pod["name"], pod["namespace"], pod.get("labels") or {}) == owner.id:
                matched = {"matched_project": owner.name, "reported_at": at}
                mine.append(ReportedPod.model_validate({**pod, **matched}))
        if mine:
            yield ClientPods(
                client_id=client_id,
                pods=tuple(sorted(mine, key=lambda one: (one.namespace, one.name))),
                last_report=max(one.reported_at for one in mine),
                truncated=any(one.truncated for one in said),
            )


def _said(report: NewestPods) -> Said:
    coverage = Coverage(report.namespace, report.label_selector, report.truncated)
    return Said(coverage, report.reported_at, report.pods)
