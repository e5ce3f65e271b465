"""The lease that lets one deploy task run in a project's environment at a time."""

from datetime import datetime

from sqlalchemy import ForeignKey, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base
from db.types import IdType, UtcDateTime


class Lease(Base):
    """Who may deploy in a project's environment now. The row stays when it is let go: `fence` only ever rises."""

    __tablename__ = "leases"

    project_id: Mapped[str] = mapped_column(
        IdType, ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True
    )
    environment_id: Mapped[str] = mapped_column(
        IdType, ForeignKey("environments.id", ondelete="CASCADE"), primary_key=True
    )
    deploy_task_id: Mapped[str | None] = mapped_column(IdType)
    holder: Mapped[str | None] = mapped_column(String(200))
    fence: Mapped[int] = mapped_column(Integer, default=0)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
