"""The building blocks of every type on the agent's wire: ids, times, finite numbers, strict requests, lenient answers."""

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer

WIRE_VERSION = 2
"""What this agent speaks. A caller works with this one and the one before it."""

OLDEST_WIRE_VERSION = 1
"""The oldest wire a caller of agents still understands: see tests/unit/agent/wire/recorded/."""

ClientId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
OpaqueId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_:-][A-Za-z0-9._:-]{0,199}$")]
"""Up to 200 characters, never starting with a dot, so that it can be a file's name."""

_ENV_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")


def _utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is out of range in UTC") from error


def _rfc3339(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


WRITTEN_IN_UTC = PlainSerializer(_rfc3339, return_type=str, when_used="json")
UtcDatetime = Annotated[AwareDatetime, AfterValidator(_utc), WRITTEN_IN_UTC]
"""An aware time, kept and written in UTC (RFC 3339)."""


_NUL_IN_JSON = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""A NUL that JSON escapes; where the backslash itself is escaped, it is text that only looks like one."""


def check_no_nul(document: BaseModel) -> None:
    """Raises ValueError where a NUL is anywhere in it: PostgreSQL stores none."""
    if _NUL_IN_JSON.search(document.model_dump_json()):
        raise ValueError("must not contain a NUL character")


def _no_nul(value: str) -> str:
    if "\x00" in value:
        raise ValueError("must not contain a NUL character")
    return value


def _absolute_path(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError("must be an absolute path")
    if ".." in value.split("/"):
        raise ValueError("must not contain '..'")
    return _no_nul(value)


def _environment(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if not _ENV_NAME.fullmatch(name):
            raise ValueError(
                "a variable's name must be letters, digits and underscores, not starting with a digit"
            )
        _no_nul(text)
    return value


Text = Annotated[str, AfterValidator(_no_nul)]
AbsolutePath = Annotated[str, Field(max_length=4096), AfterValidator(_absolute_path)]
Script = Annotated[str, Field(max_length=512 * 1024), AfterValidator(_no_nul)]
VersionName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._+~:-]*$")]
UserName = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]
EnvironmentVariables = Annotated[
    dict[str, Annotated[str, Field(max_length=32 * 1024)]],
    Field(max_length=200),
    AfterValidator(_environment),
]
Dropped = Annotated[int, Field(ge=0, le=2**53)]
"""How many reports of its kind an agent had to drop so far, because its spool was full: a number that only rises."""
FiniteFloat = Annotated[float, Field(allow_inf_nan=False)]
Labels = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=63)], Annotated[str, Field(max_length=200)]],
    Field(max_length=64),
]


class Request(BaseModel):
    """What a caller asks: an unknown field is refused, so that nothing is silently not done."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Answer(BaseModel):
    """What is answered or reported: an unknown field is ignored, so that the two sides may differ by a version."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class MutatingRequest(Request):
    """A command that changes the host: it may name the host it means and the lease it acts under."""

    client_id: ClientId | None = None
    fence: Annotated[int, Field(ge=0, le=2**53)] | None = None
