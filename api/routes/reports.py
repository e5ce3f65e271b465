"""What clients say runs there: /release/process-report, /release/projects/{project}/processes."""

from fastapi import APIRouter
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import Response

from agent.wire.processes import ProcessConfig, ProcessReport
from api.body import StrictRoute
from api.calls import Asked, Call, Posted
from api.errors import Refused
from api.idempotency import perform
from api.ingest import store_process_report
from api.process_status import process_status
from api.replies import Reply
from api.schemas.reports import ClientProcesses, ProjectProcesses, ReportAccepted
from db.models import Installation, LatestProcessReport, Target
from db.queries import clients, projects, versions

router = APIRouter(prefix="/release", tags=["reports"], route_class=StrictRoute)


@router.post("/process-report", status_code=202, response_model=ReportAccepted)
def report_processes(body: ProcessReport, call: Posted) -> Response:
    """Say which processes run on a client. An agent may do so for itself alone; the answer comes once it is stored."""
    if call.principal.role == "agent" and call.principal.client_id != body.client_id:
        raise Refused(403, f"cannot report for another client: this token is {call.principal.client_id}'s")

    def change(session: Session) -> Reply:
        project = projects.get_project(session, body.project_id)
        clients.get_client(session, body.client_id)
        _check_is_target(session, call, project.id, body.client_id)
        return Reply(202, store_process_report(session, body, project.id, call.now))

    return perform(call, change)


def _check_is_target(session: Session, call: Call, project_id: str, client_id: str) -> None:
    mine = select(Target.id).where(Target.project_id == project_id, Target.client_id == client_id)
    if session.scalar(mine) is None:
        status = 403 if call.principal.role == "agent" else 422
        raise Refused(status, f"cannot take the report: client {client_id} is no target of that project")


@router.get("/projects/{project}/processes", response_model=ProjectProcesses)
def list_processes(project: str, call: Asked) -> Response:
    """What runs on each client that has the project, and whether it is well."""
    with call.database.read() as session:
        owner = projects.get_project(session, project)
        installed = session.scalars(
            select(Installation)
            .where(Installation.project_id == owner.id, Installation.status != "uninstalled")
            .order_by(Installation.client_id)
        ).all()
        reports = {
            row.client_id: row
            for row in session.scalars(
                select(LatestProcessReport).where(LatestProcessReport.project_id == owner.id)
            )
        }
        known = versions.versions_by_name(session, owner.id, {row.version for row in installed})
        configs = {name: row.process_config for name, row in known.items()}
        answers = [
            _client_processes(row, reports.get(row.client_id), configs.get(row.version), call)
            for row in installed
        ]
    return Reply(200, ProjectProcesses(project_id=owner.id, clients=tuple(answers))).response()


def _client_processes(
    installation: Installation, report: LatestProcessReport | None, config: ProcessConfig | None, call: Call
) -> ClientProcesses:
    processes = report.processes if report else ()
    received_at = report.received_at if report else None
    return ClientProcesses(
        client_id=installation.client_id,
        version=installation.version,
        processes=processes,
        unmatched_rules=tuple(report.unmatched_rules) if report else (),
        observed_version=report.observed_version if report else None,
        last_report=report.reported_at if report else None,
        status=process_status(config or ProcessConfig(), processes, received_at, call.now),
    )
