"""Errors as application/problem+json (RFC 9457)."""

from collections.abc import Mapping

from pydantic import ValidationError
from starlette.responses import Response

from agent.wire.problems import MEDIA_TYPE, FieldError, Problem, causes


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The problem as an answer, with its own status."""
    return Response(
        problem.model_dump_json(exclude_none=True), problem.status, headers=headers, media_type=MEDIA_TYPE
    )


def invalid(error: ValidationError) -> Response:
    """422 with every bad field, or 400 for what is no JSON at all; the input is never echoed."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if any(one["type"] == "json_invalid" for one in found):
        detail = "cannot read the body: it is not valid JSON"
        return problem_response(Problem(status=400, title="Broken JSON", detail=detail))
    errors = tuple(
        FieldError(field=".".join(str(part)[:100] for part in one["loc"]) or "body", message=one["msg"][:500])
        for one in causes(found)[:100]
    )
    detail = "cannot accept the request: " + "; ".join(f"{one.field}: {one.message}" for one in errors[:5])
    return problem_response(Problem(status=422, title="Invalid request", detail=detail, errors=errors))
