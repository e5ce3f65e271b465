"""The audit trail: every change is written down in its own transaction."""

from typing import Any

from sqlalchemy.orm import Session

from api.calls import Call
from db.queries.audit import append_audit


def record(
    session: Session,
    call: Call,
    action: str,
    subject: str,
    *,
    project_id: str | None = None,
    client_id: str | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """The caller did `action` (e.g. project.create) to `subject`. `detail` names fields, never secrets."""
    append_audit(
        session,
        now=call.now,
        who=call.who,
        action=action,
        subject=subject,
        detail=detail,
        project_id=project_id,
        client_id=client_id,
    )
