"""Errors on both wires: application/problem+json (RFC 9457)."""

from agent.wire.base import Answer

MEDIA_TYPE = "application/problem+json"


class FieldError(Answer):
    """What is wrong with one field; the value itself is never echoed."""

    field: str
    message: str


class Problem(Answer):
    """One refused request. `part` names what could not be reached (503); `current` what stands in the way (409)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: tuple[FieldError, ...] = ()
    part: str | None = None
