"""Installations, on the wire."""

from typing import Annotated, Literal

from pydantic import Field

from agent.wire.base import Answer, Request, Text, UtcDatetime, VersionName

InstallationStatus = Literal["installed", "failed", "uninstalled"]


class AdoptRequest(Request):
    """What a target has already. The version need not be registered."""

    target_id: Annotated[Text, Field(min_length=1, max_length=100)]
    version: VersionName = Field(examples=["1.4.0"])
    installed_at: UtcDatetime | None = Field(None, description="Default: now.")


class InstallationAnswer(Answer):
    """What a target has. `observed_version` is what the version's probe last saw there."""

    id: str
    client_id: str
    target_id: str
    target_name: str
    environment: str
    environment_id: str
    version: str
    previous_version: str | None
    observed_version: str | None
    status: str
    installed_at: UtcDatetime
    last_updated_at: UtcDatetime
