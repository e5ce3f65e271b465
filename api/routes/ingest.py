"""What clients say: /release/process-report, …/container-report, …/pod-report; plain ones are taken by api/ingest/quick.py."""

from typing import Any

from anyio import from_thread
from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from agent.wire.containers import ContainerReport
from agent.wire.pods import PodReport
from agent.wire.processes import ProcessReport
from api.body import StrictRoute
from api.calls import Call, Posted
from api.errors import conflict
from api.idempotency import perform
from api.ingest.incoming import Incoming, Outcome
from api.ingest.writing import Ingest
from api.metrics.process import REPORT_KINDS
from api.replies import Reply
from api.schemas.reports import ReportAccepted
from db.errors import RacedError

TRIES = 3

router = APIRouter(prefix="/release", tags=["reports"], route_class=StrictRoute)


@router.post("/process-report", status_code=202, response_model=ReportAccepted)
def report_processes(body: ProcessReport, call: Posted, request: Request) -> Response:
    """Say which processes run on a client. An agent may do so for itself alone; the answer comes once it is stored."""
    return _take(body, call, request)


@router.post("/container-report", status_code=202, response_model=ReportAccepted)
def report_containers(body: ContainerReport, call: Posted, request: Request) -> Response:
    """Say which containers a client's engine has. An agent may do so for itself alone; the answer comes once it is stored."""
    return _take(body, call, request)


@router.post("/pod-report", status_code=202, response_model=ReportAccepted)
def report_pods(body: PodReport, call: Posted, request: Request) -> Response:
    """Say which pods of a selection a client's cluster has, in the place of those of the same selection before.

    An agent may do so for itself alone; the answer comes once it is stored.
    """
    return _take(body, call, request)


def _take(report: ProcessReport | ContainerReport | PodReport, call: Call, request: Request) -> Response:
    ingest: Ingest = request.app.state.ingest
    incoming: Incoming[Any] = ingest.receive(report, call.principal, call.now, request.headers.get("date"))
    if call.key is None:
        accepted = from_thread.run(ingest.put, incoming, len(request.state.body))
        return Reply(202, accepted).response()

    kept: list[Outcome] = []

    def change(session: Session) -> Reply:
        outcome = ingest.store_one(session, incoming)
        if isinstance(outcome, Exception):
            raise outcome
        kept[:] = [outcome]
        return Reply(202, outcome)

    # The answer is kept in the transaction of the report, which therefore is its own.
    for _ in range(TRIES):
        ingest.prepare([incoming])
        try:
            response = perform(call, change)
        except RacedError:
            ingest.forget_days()
        else:
            ingest.count(REPORT_KINDS[request.url.path], kept)
            return response
    raise conflict("cannot keep the report: others kept the same one at the same moment, ask again")
