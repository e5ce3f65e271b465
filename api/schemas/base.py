"""The building blocks of the API's own documents."""

import re
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, Field

from agent.wire.base import Answer, Text, UtcDatetime

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def as_uuid(text: str) -> str | None:
    """The UUID in its usual shape, or None if the text is none."""
    if len(text) not in (32, 36):
        return None
    try:
        return str(UUID(text))
    except ValueError:
        return None


def _name(value: str) -> str:
    if _CONTROL.search(value) or "/" in value:
        raise ValueError("must not contain a slash or a control character")
    if value != value.strip() or value in (".", ".."):
        raise ValueError("must not begin or end with a space, nor be dots alone")
    return value


def _not_an_id(value: str) -> str:
    if as_uuid(value) is not None:
        raise ValueError("must not be shaped like a UUID")
    return value


Name = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_name)]
ProjectName = Annotated[Name, AfterValidator(_not_an_id)]
Description = Annotated[Text, Field(max_length=2000)]


def unset() -> Any:
    """The default of a PATCH's field that may not be null: see `model_fields_set`."""
    return None


class Resource(Answer):
    """What every resource has."""

    id: str
    created_at: UtcDatetime
    updated_at: UtcDatetime
