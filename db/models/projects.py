"""Projects and their environments."""

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.documents.strategy import Strategy
from db.models.base import Base, Keyed, Timestamped
from db.types import DocumentType, IdType


class Project(Keyed, Timestamped, Base):
    __tablename__ = "projects"

    name: Mapped[str] = mapped_column(String(100), unique=True)
    type: Mapped[str] = mapped_column(String(20))
    description: Mapped[str | None] = mapped_column(String(2000))
    default_strategy: Mapped[Strategy | None] = mapped_column(DocumentType(Strategy))


class Environment(Keyed, Timestamped, Base):
    __tablename__ = "environments"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    project_id: Mapped[str] = mapped_column(IdType, ForeignKey("projects.id", ondelete="RESTRICT"))
    name: Mapped[str] = mapped_column(String(100))
    description: Mapped[str | None] = mapped_column(String(2000))
