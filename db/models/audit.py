"""The audit trail, and the answers kept for idempotency keys."""

from datetime import datetime

from sqlalchemy import Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Keyed
from db.types import IdType, JsonType, UtcDateTime


class AuditEntry(Keyed, Base):
    """Who did what to whom, when: appended with the change, in its transaction."""

    __tablename__ = "audit_entries"
    __table_args__ = (
        Index(None, "at"),
        Index(None, "deploy_task_id"),
        Index(None, "project_id"),
        Index(None, "client_id"),
    )

    at: Mapped[datetime] = mapped_column(UtcDateTime)
    who: Mapped[str] = mapped_column(String(200))
    action: Mapped[str] = mapped_column(String(100))
    subject: Mapped[str] = mapped_column(String(300))
    detail: Mapped[dict[str, object]] = mapped_column(JsonType, default=dict)
    project_id: Mapped[str | None] = mapped_column(IdType)
    client_id: Mapped[str | None] = mapped_column(String(63))
    deploy_task_id: Mapped[str | None] = mapped_column(IdType)


class IdempotencyKey(Keyed, Base):
    """The answer that a POST with this key got. It is encrypted: a client's 201 carries its report token."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (UniqueConstraint("who", "key"), Index(None, "created_at"))

    who: Mapped[str] = mapped_column(String(200))
    key: Mapped[str] = mapped_column(String(200))
    request_sha256: Mapped[str] = mapped_column(String(64))
    status_code: Mapped[int | None] = mapped_column(Integer)
    answer_encrypted: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
