"""Drift, and its repair."""

from typing import Annotated

from pydantic import Field

from agent.wire.base import Answer, ClientId, Request, Text, UtcDatetime
from tasks.decisions.drift import Drift


class DriftAnswer(Answer):
    """One client: what is recorded of it against what its newest report shows. `environment` null: nothing is installed."""

    client_id: str
    environment: str | None
    recorded_version: str | None
    observed_version: str | None
    drift: Drift
    observed_at: UtcDatetime | None


class RepairRequest(Request):
    """Whom to repair; without either: everybody whose version is missing or another one."""

    client_ids: Annotated[tuple[ClientId, ...], Field(min_length=1, max_length=100_000)] | None = None
    environment: Annotated[Text, Field(min_length=1, max_length=100)] | None = None


class RepairAnswer(Answer):
    """The deploy tasks that repair it, one for each recorded version; they are to be started."""

    deploy_task_ids: tuple[str, ...]
