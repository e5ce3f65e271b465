"""Freezes: nothing is deployed while one lasts."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Keyed, Timestamped
from db.types import IdType, UtcDateTime


class Freeze(Keyed, Timestamped, Base):
    """Of everything (no project), of a project (no environment), or of one environment. `until` None: until it is lifted."""

    __tablename__ = "freezes"
    __table_args__ = (Index(None, "project_id"),)

    project_id: Mapped[str | None] = mapped_column(IdType, ForeignKey("projects.id", ondelete="CASCADE"))
    environment_id: Mapped[str | None] = mapped_column(
        IdType, ForeignKey("environments.id", ondelete="CASCADE")
    )
    reason: Mapped[str] = mapped_column(String(1000))
    until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    who: Mapped[str] = mapped_column(String(200))
