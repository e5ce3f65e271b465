"""Freezes, on the wire."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from agent.wire.base import Request, Text, UtcDatetime
from api.schemas.base import Resource

Reference = Annotated[Text, Field(min_length=1, max_length=100)]


class FreezeCreate(Request):
    """Of everything, of a project (id or name), or of one of its environments (by name)."""

    project_id: Reference | None = None
    environment: Reference | None = None
    reason: Annotated[Text, Field(min_length=1, max_length=1000)]
    until: UtcDatetime | None = Field(None, description="Without: until it is lifted.")

    @model_validator(mode="after")
    def _environment_is_a_project_s(self) -> Self:
        if self.environment is not None and self.project_id is None:
            raise ValueError("environment needs project_id: whose environment?")
        return self


class FreezeAnswer(Resource):
    """A freeze that lasts."""

    project_id: str | None
    environment_id: str | None
    reason: str
    until: UtcDatetime | None
    who: str
