"""What clients say: /release/process-report, /release/container-report. The way of every report, so it is short."""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Self

from anyio import from_thread
from fastapi import APIRouter
from pydantic import ValidationError, model_validator
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from agent.wire.containers import ContainerReport
from agent.wire.processes import ProcessReport
from api.body import StrictRoute
from api.calls import Posted
from api.errors import conflict
from api.idempotency import perform
from api.ingest.batches import Batches
from api.ingest.incoming import Incoming, Report
from api.ingest.writing import Ingest
from api.replies import Reply
from api.schemas.reports import ReportAccepted
from db.errors import RacedError
from db.models import utc_now

LARGE_BYTES = 128 * 1024
"""A body that is larger is read in a thread: the event loop has others to serve."""
TRIES = 3
MAX_INT = 2**63 - 1


class _ReadProcessReport(ProcessReport):
    @model_validator(mode="after")
    def _no_nul(self) -> Self:
        return self  # the body has been looked at


class _ReadContainerReport(ContainerReport):
    @model_validator(mode="after")
    def _no_nul(self) -> Self:
        return self


class ReportRoute(StrictRoute):
    """A route that reads a plain report at once, in the event loop, and leaves every other request to FastAPI.

    Plain is: of moderate size, without an Idempotency-Key, valid. What is wrong with one that isn't, is found and said
    the long way.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The quick way, with FastAPI's handler behind it."""
        handler = super().get_route_handler()
        read = _QUICK_READERS[self.path]

        async def handle(request: Request) -> Response:
            report = None if "idempotency-key" in request.headers else read(request.state.body)
            if report is None:
                return await handler(request)
            ingest: Ingest = request.app.state.ingest
            incoming = Incoming(report, request.state.principal, utc_now())
            return _reply(await _queue_of(ingest, incoming).put(incoming, len(request.state.body)))

        return handle


def _read_quickly(model: type[Report], body: bytes) -> Report | None:
    if len(body) > LARGE_BYTES or b"\\u0000" in body:
        return None
    try:
        report = model.model_validate_json(body)
    except ValidationError:
        return None
    return report if _is_storable(report) else None


def _is_storable(report: ProcessReport | ContainerReport) -> bool:
    # The wire leaves these numbers open; StrictRoute refuses what no database holds.
    return isinstance(report, ContainerReport) or all(
        -MAX_INT <= number <= MAX_INT
        for one in report.processes
        for number in (one.ppid or 0, one.start_ticks or 0, *(one.ports or ()))
    )


_QUICK_READERS: dict[str, Callable[[bytes], Any]] = {
    "/release/process-report": partial(_read_quickly, _ReadProcessReport),
    "/release/container-report": partial(_read_quickly, _ReadContainerReport),
}
router = APIRouter(prefix="/release", tags=["reports"], route_class=ReportRoute)


@router.post("/process-report", status_code=202, response_model=ReportAccepted)
def report_processes(body: ProcessReport, call: Posted, request: Request) -> Response:
    """Say which processes run on a client. An agent may do so for itself alone; the answer comes once it is stored."""
    return _take(body, call, request)


@router.post("/container-report", status_code=202, response_model=ReportAccepted)
def report_containers(body: ContainerReport, call: Posted, request: Request) -> Response:
    """Say which containers a client's engine has. An agent may do so for itself alone; the answer comes once it is stored."""
    return _take(body, call, request)


def _take(report: ProcessReport | ContainerReport, call: Posted, request: Request) -> Response:
    ingest: Ingest = request.app.state.ingest
    incoming: Incoming[Any] = Incoming(report, call.principal, call.now)
    if call.key is None:
        size = len(request.state.body)
        return _reply(from_thread.run(_queue_of(ingest, incoming).put, incoming, size))

    def change(session: Session) -> Reply:
        outcome = ingest.store_one(session, incoming)
        if isinstance(outcome, Exception):
            raise outcome
        return Reply(202, outcome)

    # The answer is kept in the transaction of the report, which therefore is its own.
    for _ in range(TRIES):
        ingest.prepare([incoming])
        try:
            return perform(call, change)
        except RacedError:
            ingest.forget_days()
    raise conflict("cannot keep the report: others kept the same one at the same moment, ask again")


def _queue_of(ingest: Ingest, incoming: Incoming[Any]) -> Batches[Incoming[Any], ReportAccepted]:
    return ingest.processes if isinstance(incoming.report, ProcessReport) else ingest.containers


def _reply(accepted: ReportAccepted) -> Response:
    return Reply(202, accepted).response()
