"""An ASGI layer that takes plain reports itself, and leaves every other request to the application behind it.

Of all requests, most are reports, and FastAPI's way with one costs more than all that is to be done for it. Plain is:
of moderate size, without an Idempotency-Key, valid. What is wrong with one that isn't, the application finds and says.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, Field, ValidationError, model_validator
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.wire.base import WRITTEN_IN_UTC
from agent.wire.containers import ContainerReport
from agent.wire.pods import PodReport
from agent.wire.processes import ProcessInfo, ProcessReport
from api.ingest.incoming import Report
from api.ingest.writing import Ingest
from api.problems import answer_error
from api.schemas.reports import ReportAccepted
from db.models import utc_now

LARGE_BYTES = 128 * 1024
"""A body that is larger is read in a thread: the event loop has others to serve."""
MAX_INT = 2**63 - 1


_Int = Annotated[int, Field(ge=-MAX_INT, le=MAX_INT)]
"""The wire leaves these numbers open; StrictRoute refuses what no database holds."""
_Time = Annotated[
    AwareDatetime,
    Field(ge=datetime(1, 1, 2, tzinfo=UTC), le=datetime(9999, 12, 30, tzinfo=UTC)),
    WRITTEN_IN_UTC,
]
"""A time that UTC has, as it was said: it is an instant all the same, and is written in UTC."""


class _ReadProcessInfo(ProcessInfo):
    """A process of a plain report: what the wire checks in Python, a process at a time, is a bound here."""

    start_time: _Time
    ppid: _Int | None = None
    start_ticks: _Int | None = None
    ports: Annotated[tuple[_Int, ...], Field(max_length=1000)] | None = None


class ReadProcessReport(ProcessReport):
    """A report whose body has been searched for NULs: its validation needs no second look."""

    processes: Annotated[tuple[_ReadProcessInfo, ...], Field(max_length=10_000)]

    @model_validator(mode="after")
    def _no_nul(self) -> Self:
        return self


class ReadContainerReport(ContainerReport):
    """The same, of containers."""

    @model_validator(mode="after")
    def _no_nul(self) -> Self:
        return self


class ReadPodReport(PodReport):
    """The same, of pods."""

    @model_validator(mode="after")
    def _no_nul(self) -> Self:
        return self


class QuickReports:
    """The layer, behind the guard: it takes `headers`, `body` and `principal` from the scope's state."""

    def __init__(self, app: ASGIApp, ingest: Ingest) -> None:
        self.app = app
        self._ingest = ingest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a plain report once it is stored; pass everything else on."""
        read = _READERS.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        report = None
        if read is not None and b"idempotency-key" not in scope["state"]["headers"]:
            report = read(scope["state"]["body"])
        if report is None:
            await self.app(scope, receive, send)
            return
        date = scope["state"]["headers"].get(b"date")
        said_at = date.decode("latin-1") if date is not None else None
        incoming = self._ingest.receive(report, scope["state"]["principal"], utc_now(), said_at)
        try:
            accepted = await self._ingest.put(incoming, len(scope["state"]["body"]))
        except Exception as error:  # noqa: BLE001 (raised again where it is none of ours)
            response = await answer_error(error)
            await response(scope, receive, send)
        else:
            await _answer(accepted, send)


async def _answer(accepted: ReportAccepted, send: Send) -> None:
    body = accepted.model_dump_json().encode()
    headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 202, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _read(model: type[Report], body: bytes) -> Report | None:
    if len(body) > LARGE_BYTES or b"\\u0000" in body:
        return None
    try:
        return model.model_validate_json(body)
    except ValidationError:
        return None


_READERS: dict[str, Callable[[bytes], Any]] = {
    "/release/process-report": partial(_read, ReadProcessReport),
    "/release/container-report": partial(_read, ReadContainerReport),
    "/release/pod-report": partial(_read, ReadPodReport),
}
