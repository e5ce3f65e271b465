"""Clients (managed hosts) and the targets that they are in projects' environments."""

from datetime import datetime

from sqlalchemy import Boolean, ForeignKey, Index, Integer, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Keyed, Timestamped
from db.types import IdType, JsonType, UtcDateTime


class Client(Timestamped, Base):
    """`token_encrypted` is what callers present to its agent (Fernet); report tokens are kept as SHA-256 (hex).

    `heard_at`: when its agent last answered the heartbeat flow; `online` None: it was never asked.
    """

    __tablename__ = "clients"

    client_id: Mapped[str] = mapped_column(String(63), primary_key=True)
    url: Mapped[str] = mapped_column(String(2000))
    labels: Mapped[dict[str, str]] = mapped_column(JsonType, default=dict)
    token_encrypted: Mapped[bytes | None] = mapped_column(LargeBinary)
    report_token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    old_report_token_sha256: Mapped[str | None] = mapped_column(String(64), unique=True)
    old_report_token_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    heard_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    online: Mapped[bool | None] = mapped_column(Boolean)
    online_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    held_reason: Mapped[str | None] = mapped_column(String(500))
    held_until: Mapped[datetime | None] = mapped_column(UtcDateTime)

    def is_held(self, now: datetime) -> bool:
        """Whether the client is passed over at `now`: held, and the hold has not run out."""
        return self.held_reason is not None and (self.held_until is None or self.held_until > now)


class Target(Keyed, Timestamped, Base):
    """A client in one of a project's environments; in at most one of them."""

    __tablename__ = "targets"
    __table_args__ = (
        UniqueConstraint("project_id", "client_id"),
        Index(None, "environment_id"),
        Index(None, "client_id"),
    )

    project_id: Mapped[str] = mapped_column(IdType, ForeignKey("projects.id", ondelete="RESTRICT"))
    environment_id: Mapped[str] = mapped_column(IdType, ForeignKey("environments.id", ondelete="RESTRICT"))
    client_id: Mapped[str] = mapped_column(String(63), ForeignKey("clients.client_id", ondelete="RESTRICT"))
    name: Mapped[str] = mapped_column(String(100))
    type: Mapped[str] = mapped_column(String(20), default="host")
    labels: Mapped[dict[str, str]] = mapped_column(JsonType, default=dict)
    priority: Mapped[int] = mapped_column(Integer, default=0)
