"""Errors as application/problem+json (RFC 9457): one place that knows which error is which status."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from agent.wire.problems import MEDIA_TYPE, FieldError, Problem, causes
from api.errors import Refused, TransientApiError
from db.errors import DatabaseError, RowNotFoundError, TransientDatabaseError
from tasks.errors import (
    FleetChangedError,
    FrozenError,
    LeaseHeldError,
    NotAllowedError,
    NotFoundError,
    PermanentTaskError,
    PlanningError,
    WrongStateError,
)

log = logging.getLogger("api.problems")

TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timeout",
    409: "Conflict",
    413: "Too large",
    421: "Misdirected request",
    422: "Invalid request",
    500: "Internal error",
    503: "Unavailable",
}
MAX_ERRORS = 100


def problem_response(
    status: int,
    detail: str,
    errors: Sequence[FieldError] = (),
    *,
    part: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem as an answer. `part` names what can't be reached."""
    problem = Problem(
        title=TITLES.get(status, "Request failed"),
        status=status,
        detail=detail,
        errors=tuple(errors),
        part=part,
    )
    return Response(problem.model_dump_json(exclude_none=True), status, dict(headers or {}), MEDIA_TYPE)


def field_errors(found: Sequence[Any], skip: int = 0) -> tuple[FieldError, ...]:
    """Pydantic's errors as ours: where and what, never the value."""
    return tuple(
        FieldError(
            field=_field(one["loc"][skip:]), message=str(one["msg"]).removeprefix("Value error, ")[:500]
        )
        for one in causes(found)[:MAX_ERRORS]
    )


def _field(loc: Sequence[Any]) -> str:
    return ".".join(str(part)[:100] for part in loc) or "body"


def invalid_fields(errors: Sequence[FieldError]) -> Response:
    """422 with every bad field."""
    summary = "; ".join(f"{one.field}: {one.message}" for one in errors[:5])
    return problem_response(422, f"cannot accept the request: {summary}", errors)


def add_problem_handlers(app: FastAPI) -> None:
    """Answer every error of the application as a problem."""
    for error, handler in HANDLERS.items():
        app.add_exception_handler(error, handler)
    app.add_exception_handler(Exception, _on_anything)


async def answer_error(error: Exception) -> Response:
    """The error as a problem, for a layer that FastAPI's handlers don't reach. Raises it where it is none of ours."""
    for kind in type(error).__mro__:
        if kind in HANDLERS:
            answer: Response = await HANDLERS[kind](None, error)
            return answer
    raise error


async def _on_validation(_request: Request | None, error: RequestValidationError) -> Response:
    found = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        return problem_response(400, "cannot read the body: it is not valid JSON")
    return invalid_fields(field_errors(found, skip=1))


async def _on_http(_request: Request | None, error: HTTPException) -> Response:
    title = TITLES.get(error.status_code, "request failed").lower()
    return problem_response(error.status_code, f"cannot answer: {title}", headers=error.headers)


async def _on_refused(_request: Request | None, error: Refused) -> Response:
    return problem_response(error.status, str(error), error.errors, headers=error.headers)


async def _on_transient(_request: Request | None, error: TransientApiError) -> Response:
    headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s is not None else None
    return problem_response(503, str(error), part=error.part, headers=headers)


async def _on_database(_request: Request | None, error: DatabaseError) -> Response:
    if isinstance(error, RowNotFoundError):
        return problem_response(404, f"cannot find it: {error}")
    log.error("%s", error)
    if isinstance(error, TransientDatabaseError):
        return problem_response(503, "cannot answer: the database can't be reached now", part="database")
    return problem_response(500, "cannot answer: an error inside the API, which its log explains")


async def _on_task(_request: Request | None, error: PermanentTaskError) -> Response:
    if isinstance(error, PlanningError):
        field = FieldError(field=error.field or "body", message=str(error))
        return problem_response(422, str(error), [field])
    if isinstance(error, NotFoundError):
        return problem_response(404, str(error))
    if isinstance(error, FleetChangedError):
        changes = [FieldError(field="plan", message=change) for change in error.changes[:MAX_ERRORS]]
        return problem_response(409, str(error), changes)
    if isinstance(error, NotAllowedError):
        return problem_response(403, str(error))
    if isinstance(error, (LeaseHeldError, WrongStateError, FrozenError)):
        return problem_response(409, str(error))
    return problem_response(422, str(error))


async def _on_sql(_request: Request | None, error: DBAPIError) -> Response:
    log.error("the database refused a statement: %s", error.orig)
    if isinstance(error, IntegrityError):
        return problem_response(409, "cannot change it: another change came first, or something refers to it")
    if isinstance(error, DataError):
        return problem_response(422, "cannot accept the request: the database can't store a value in it")
    return problem_response(503, "cannot answer: the database can't be reached now", part="database")


async def _on_overflow(_request: Request | None, _error: OverflowError) -> Response:
    return problem_response(422, "cannot accept the request: a time or number in it is out of range")


async def _on_anything(_request: Request | None, _error: Exception) -> Response:
    return problem_response(500, "cannot answer: an error inside the API, which its log explains")


HANDLERS: dict[type, Callable[..., Awaitable[Response]]] = {
    RequestValidationError: _on_validation,
    HTTPException: _on_http,
    Refused: _on_refused,
    TransientApiError: _on_transient,
    DatabaseError: _on_database,
    PermanentTaskError: _on_task,
    DBAPIError: _on_sql,
    OverflowError: _on_overflow,
}
