"""`release.check`: what is installed in a directory, which version answers, and whether the version's checks pass."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, HttpUrl, model_validator

from agent.patterns import check_pattern
from agent.wire.base import AbsolutePath, Answer, OpaqueId, Request, Text, UserName, UtcDatetime

MAX_OBSERVED = 100
"""Characters: as long as a version may be."""
Seconds = Annotated[float, Field(gt=0, le=60, allow_inf_nan=False)]


def _require(kind: str, wanted: str, given: dict[str, object]) -> None:
    if given[wanted] is None:
        raise ValueError(f"type {kind!r} needs {wanted!r}")
    extra = sorted(name for name, value in given.items() if name != wanted and value is not None)
    if extra:
        raise ValueError(f"type {kind!r} takes no {', '.join(extra)}")


class VersionProbe(Request):
    """How to ask the application itself which version it is.

    The answer is `pattern`'s first group (or its whole match) in the output, the body or the file; without a
    pattern all of it, stripped.
    """

    type: Literal["command", "http", "file"]
    command: Annotated[Text, Field(min_length=1, max_length=4096)] | None = None
    url: HttpUrl | None = None
    path: AbsolutePath | None = None
    pattern: Annotated[Text, Field(min_length=1, max_length=500)] | None = None
    timeout_s: Seconds = 10

    @model_validator(mode="after")
    def _fields_fit_type(self) -> Self:
        wanted = {"command": "command", "http": "url", "file": "path"}[self.type]
        _require(self.type, wanted, {"command": self.command, "url": self.url, "path": self.path})
        if self.pattern is not None:
            check_pattern(self.pattern)
        return self


class Check(Request):
    """Something that must hold on the host: an HTTP answer, an open TCP port, a command that exits 0."""

    type: Literal["http", "tcp", "command"]
    url: HttpUrl | None = None
    status: Annotated[int, Field(ge=100, le=599)] = 200
    pattern: Annotated[Text, Field(min_length=1, max_length=500)] | None = None
    host: Annotated[Text, Field(min_length=1, max_length=253)] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    command: Annotated[Text, Field(min_length=1, max_length=4096)] | None = None
    timeout_s: Seconds = 10

    @model_validator(mode="after")
    def _fields_fit_type(self) -> Self:
        wanted = {"command": "command", "http": "url", "tcp": "port"}[self.type]
        _require(self.type, wanted, {"command": self.command, "url": self.url, "port": self.port})
        if self.pattern is not None:
            check_pattern(self.pattern)
        return self


class CheckRequest(Request):
    """What is in `work_dir`, and what does it answer? `checks` needs the feature `evidence_checks`."""

    project_id: OpaqueId
    work_dir: AbsolutePath
    version_probe: VersionProbe | None = None
    checks: Annotated[tuple[Check, ...], Field(max_length=20)] = ()
    run_as: UserName | None = None


class CheckResult(Answer):
    """One check's outcome; `detail` says what was seen."""

    type: str
    subject: str
    passed: bool
    detail: str = ""


def _cut(value: object) -> object:
    return value[:MAX_OBSERVED] if isinstance(value, str) else value


class CheckAnswer(Answer):
    """`version` is what this agent's journal says it installed there last; `observed_version` what the probe saw."""

    installed: bool
    version: str | None = None
    observed_version: Annotated[str | None, BeforeValidator(_cut)] = None
    installed_at: UtcDatetime | None = None
    last_updated_at: UtcDatetime | None = None
    probe_error: str | None = None
    checks: tuple[CheckResult, ...] | None = None
