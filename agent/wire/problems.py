"""Errors on both wires: application/problem+json (RFC 9457)."""

from collections.abc import Sequence
from typing import Any

from agent.wire.base import Answer

MEDIA_TYPE = "application/problem+json"

LOWER_FENCE = "Lower fence"
"""The title of an agent's refusal (409) by which a caller knows that another run has the lease."""


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


def causes(found: Sequence[Any]) -> list[Any]:
    """Pydantic's errors without those that only follow from another.

    Items that are refused leave their list too short, which pydantic (2.14) then says, too.
    """
    places = [one["loc"] for one in found]
    return [
        one
        for one in found
        if one["type"] != "too_short"
        or not any(
            len(place) > len(one["loc"]) and place[: len(one["loc"])] == one["loc"] for place in places
        )
    ]
