"""An ASGI layer that takes plain reports itself, and leaves every other request to the application behind it.

Of all requests, most are reports, and FastAPI's way with one costs more than all that is to be done for it. Plain is:
of moderate size, without an Idempotency-Key, valid. What is wrong with one that isn't, the application finds and says.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Self

from pydantic import ValidationError, model_validator
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.wire.containers import ContainerReport
from agent.wire.pods import PodReport
from agent.wire.processes import ProcessReport
from api.ingest.incoming import Report
from api.ingest.writing import Ingest
from api.problems import answer_error
from api.replies import Reply
from db.models import utc_now

LARGE_BYTES = 128 * 1024
"""A body that is larger is read in a thread: the event loop has others to serve."""
MAX_INT = 2**63 - 1


class ReadProcessReport(ProcessReport):
    """A report whose body has been searched for NULs: its validation needs no second look."""

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
    """The layer, behind the guard: it takes `body` and `principal` from the scope's state."""

    def __init__(self, app: ASGIApp, ingest: Ingest) -> None:
        self.app = app
        self._ingest = ingest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a plain report once it is stored; pass everything else on."""
        read = _READERS.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        report = None
        if read is not None and not any(name == b"idempotency-key" for name, _ in scope["headers"]):
            report = read(scope["state"]["body"])
        if report is None:
            await self.app(scope, receive, send)
            return
        date = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"date"), None)
        incoming = self._ingest.receive(report, scope["state"]["principal"], utc_now(), date)
        try:
            accepted = await self._ingest.put(incoming, len(scope["state"]["body"]))
        except Exception as error:  # noqa: BLE001 (raised again where it is none of ours)
            response = await answer_error(error)
        else:
            response = Reply(202, accepted).response()
        await response(scope, receive, send)


def _read(model: type[Report], body: bytes) -> Report | None:
    if len(body) > LARGE_BYTES or b"\\u0000" in body:
        return None
    try:
        report = model.model_validate_json(body)
    except ValidationError:
        return None
    return report if _is_storable(report) else None


def _is_storable(report: ProcessReport | ContainerReport | PodReport) -> bool:
    # The wire leaves these numbers open; StrictRoute refuses what no database holds.
    if not isinstance(report, ProcessReport):
        return True
    for one in report.processes:
        if not (-MAX_INT <= (one.ppid or 0) <= MAX_INT and -MAX_INT <= (one.start_ticks or 0) <= MAX_INT):
            return False
        if one.ports and (max(one.ports) > MAX_INT or min(one.ports) < -MAX_INT):
            return False
    return True


_READERS: dict[str, Callable[[bytes], Any]] = {
    "/release/process-report": partial(_read, ReadProcessReport),
    "/release/container-report": partial(_read, ReadContainerReport),
    "/release/pod-report": partial(_read, ReadPodReport),
}
