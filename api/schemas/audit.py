"""The audit trail, on the wire."""

from typing import Any

from agent.wire.base import Answer, UtcDatetime


class AuditAnswer(Answer):
    """Who did what to whom, when. `who` is the token's name."""

    id: str
    at: UtcDatetime
    who: str
    action: str
    subject: str
    detail: dict[str, Any]
    project_id: str | None
    client_id: str | None
    task_id: str | None
