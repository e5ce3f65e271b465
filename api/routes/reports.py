"""What clients said runs there: /release/projects/{project}/processes."""

from fastapi import APIRouter
from sqlalchemy import select
from starlette.responses import Response

from agent.wire.processes import ProcessConfig, ProcessInfo
from api.body import StrictRoute
from api.calls import Asked, Call
from api.process_status import process_status
from api.replies import Reply
from api.schemas.reports import ClientProcesses, ProjectProcesses
from db.models import Installation
from db.queries import projects, versions
from db.queries.reports import StoredReport, list_latest_reports

router = APIRouter(prefix="/release", tags=["reports"], route_class=StrictRoute)


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
        reports = {report.client_id: report for report in list_latest_reports(session, owner.id)}
        known = versions.versions_by_name(session, owner.id, {row.version for row in installed})
        configs = {name: row.process_config for name, row in known.items()}
        answers = [
            _client_processes(row, reports.get(row.client_id), configs.get(row.version), call)
            for row in installed
        ]
    return Reply(200, ProjectProcesses(project_id=owner.id, clients=tuple(answers))).response()


def _client_processes(
    installation: Installation, report: StoredReport | None, config: ProcessConfig | None, call: Call
) -> ClientProcesses:
    processes = tuple(ProcessInfo.model_validate(one) for one in report.processes) if report else ()
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
