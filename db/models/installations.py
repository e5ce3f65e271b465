"""Installations: which version a target has, and how it came to be."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from db.documents.evidence import Evidence
from db.models.base import Base, Keyed, Timestamped, utc_now
from db.types import DocumentType, IdType, UtcDateTime


class Installation(Keyed, Timestamped, Base):
    """One row for each target. `version` is what was last proven there; `failed` says nothing newer is claimed."""

    __tablename__ = "installations"
    __table_args__ = (Index(None, "project_id", "status", "version"),)

    project_id: Mapped[str] = mapped_column(IdType, ForeignKey("projects.id", ondelete="RESTRICT"))
    target_id: Mapped[str] = mapped_column(IdType, ForeignKey("targets.id", ondelete="RESTRICT"), unique=True)
    environment_id: Mapped[str] = mapped_column(IdType, ForeignKey("environments.id", ondelete="RESTRICT"))
    client_id: Mapped[str] = mapped_column(String(63), ForeignKey("clients.client_id", ondelete="RESTRICT"))
    version: Mapped[str] = mapped_column(String(100))
    previous_version: Mapped[str | None] = mapped_column(String(100))
    observed_version: Mapped[str | None] = mapped_column(String(100))
    status: Mapped[str] = mapped_column(String(20))
    installed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    deploy_task_id: Mapped[str | None] = mapped_column(IdType)
    evidence: Mapped[Evidence | None] = mapped_column(DocumentType(Evidence))


class InstallationEvent(Keyed, Base):
    """An installation's history: every change, never updated."""

    __tablename__ = "installation_events"
    __table_args__ = (Index(None, "target_id", "at"),)

    target_id: Mapped[str] = mapped_column(IdType)
    project_id: Mapped[str] = mapped_column(IdType)
    client_id: Mapped[str] = mapped_column(String(63))
    version: Mapped[str] = mapped_column(String(100))
    previous_version: Mapped[str | None] = mapped_column(String(100))
    status: Mapped[str] = mapped_column(String(20))
    deploy_task_id: Mapped[str | None] = mapped_column(IdType)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
