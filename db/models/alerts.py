"""Alerts, what is remembered between two reports to judge them by, and silences."""

from datetime import datetime

from sqlalchemy import Boolean, Double, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from db.documents.silences import Matcher
from db.models.base import Base, Keyed, Timestamped
from db.types import DocumentType, IdType, JsonType, UtcDateTime


class Alert(Keyed, Base):
    """One alert, from the moment its condition held until it resolved. `fired_at` None: it waits, nobody was told.

    `fingerprint`: hash of project, client, subject (rule, container, pod) and type; of each at most one is unresolved.
    `since`, `heard_at`, `held_at`, `seen_at`, `holds`, and the seconds: see tasks/decisions/alerts.py. `due_at`: when time alone
    will change it.
    """

    __tablename__ = "alerts"
    __table_args__ = (
        Index(
            "uq_alerts_live",
            "fingerprint",
            unique=True,
            sqlite_where=text("resolved_at IS NULL"),
            postgresql_where=text("resolved_at IS NULL"),
        ),
        Index(None, "due_at"),
        Index(None, "project_id", "client_id"),
        Index(None, "client_id"),
        Index(None, "fired_at"),
        Index(None, "resolved_at"),
    )

    fingerprint: Mapped[str] = mapped_column(String(64))
    type: Mapped[str] = mapped_column(String(40))
    level: Mapped[str] = mapped_column(String(10))
    source: Mapped[str] = mapped_column(String(20))
    client_id: Mapped[str | None] = mapped_column(String(63))
    project_id: Mapped[str | None] = mapped_column(IdType)
    subject: Mapped[str] = mapped_column(String(253))
    title: Mapped[str] = mapped_column(String(300))
    message: Mapped[str] = mapped_column(Text)
    labels: Mapped[dict[str, str]] = mapped_column(JsonType, default=dict)
    value: Mapped[float | None] = mapped_column(Double)
    threshold: Mapped[float | None] = mapped_column(Double)
    since: Mapped[datetime] = mapped_column(UtcDateTime)
    heard_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    held_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    holds: Mapped[bool] = mapped_column(Boolean)
    for_s: Mapped[float] = mapped_column(Double)
    keep_firing_s: Mapped[float] = mapped_column(Double)
    stale_after_s: Mapped[float] = mapped_column(Double)
    due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    fired_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    resolved_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class AlertMemory(Base):
    """What the last judged report of a kind (process, container, pod) showed: a document of that kind's judge."""

    __tablename__ = "alert_memories"

    client_id: Mapped[str] = mapped_column(
        String(63), ForeignKey("clients.client_id", ondelete="CASCADE"), primary_key=True
    )
    project_id: Mapped[str] = mapped_column(
        IdType, ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True
    )
    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    document: Mapped[dict[str, object]] = mapped_column(JsonType)


class Silence(Keyed, Timestamped, Base):
    """Alerts that match are not told of until `ends_at`. `who`: the token; `created_by` is only a label."""

    __tablename__ = "silences"
    __table_args__ = (Index(None, "ends_at"),)

    matchers: Mapped[tuple[Matcher, ...]] = mapped_column(DocumentType(tuple[Matcher, ...]))
    starts_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ends_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(200))
    comment: Mapped[str] = mapped_column(Text)
    who: Mapped[str] = mapped_column(String(200))
