"""Alerts and silences, on the wire."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from agent.wire.base import Answer, Request, Text, UtcDatetime
from api.schemas.base import Resource
from db.documents.silences import Matcher
from tasks.decisions.silences import check_regex

AlertStatus = Literal["firing", "resolved"]


class AlertAnswer(Answer):
    """An alert that people were told of. `silenced`: nobody is told now. `source`: process, container, pod or client."""

    id: str
    type: str
    level: str
    status: AlertStatus
    source: str
    client_id: str | None
    project_id: str | None
    title: str
    message: str
    labels: dict[str, str]
    value: float | None
    threshold: float | None
    fired_at: UtcDatetime
    resolved_at: UtcDatetime | None
    fingerprint: str
    silenced: bool


class SilenceCreate(Request):
    """Tell nobody of alerts that every matcher matches, until `ends_at`. `created_by` is a label: the token is kept too."""

    matchers: Annotated[tuple[Matcher, ...], Field(min_length=1, max_length=20)]
    starts_at: UtcDatetime | None = Field(None, description="Now, where it is left out.")
    ends_at: UtcDatetime
    created_by: Annotated[Text, Field(min_length=1, max_length=200)]
    comment: Annotated[Text, Field(min_length=1, max_length=2000)]

    @field_validator("matchers")
    @classmethod
    def _can_be_read(cls, matchers: tuple[Matcher, ...]) -> tuple[Matcher, ...]:
        for one in matchers:
            fault = check_regex(one.value) if one.is_regex else None
            if fault is not None:
                raise ValueError(f"the value for {one.name} is no regular expression that RE2 can read")
        return matchers


class SilenceAnswer(Resource):
    """A silence. `who`: the name of the token that made it."""

    matchers: tuple[Matcher, ...]
    starts_at: UtcDatetime
    ends_at: UtcDatetime
    created_by: str
    comment: str
    who: str
