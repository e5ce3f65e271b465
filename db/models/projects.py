"""Projects and their environments."""

from sqlalchemy import Boolean, ForeignKey, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, validates

from agent.wire.naming import ContainerNaming
from db.documents.container_config import ContainerConfig
from db.documents.release_window import ReleaseWindow
from db.documents.strategy import Strategy
from db.models.base import Base, Keyed, Timestamped
from db.types import DocumentType, IdType


class Project(Keyed, Timestamped, Base):
    """`container_prefix` is the naming's prefix once more, because no two projects may have the same.

    `fence`: the highest that was ever given out for it, over environments that are gone.
    """

    __tablename__ = "projects"
    __table_args__ = (Index(None, "container_prefix", unique=True),)

    name: Mapped[str] = mapped_column(String(100), unique=True)
    type: Mapped[str] = mapped_column(String(20))
    description: Mapped[str | None] = mapped_column(String(2000))
    default_strategy: Mapped[Strategy | None] = mapped_column(DocumentType(Strategy))
    container_naming: Mapped[ContainerNaming | None] = mapped_column(DocumentType(ContainerNaming))
    container_prefix: Mapped[str | None] = mapped_column(String(100))
    container_config: Mapped[ContainerConfig | None] = mapped_column(DocumentType(ContainerConfig))
    fence: Mapped[int] = mapped_column(Integer, default=0)

    @validates("container_naming")
    def _keep_prefix(self, _key: str, naming: ContainerNaming | None) -> ContainerNaming | None:
        self.container_prefix = naming.prefix if naming is not None else None
        return naming


class Environment(Keyed, Timestamped, Base):
    """A place that a project's targets are in, and when and by whose leave it may be deployed to."""

    __tablename__ = "environments"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    project_id: Mapped[str] = mapped_column(IdType, ForeignKey("projects.id", ondelete="RESTRICT"))
    name: Mapped[str] = mapped_column(String(100))
    description: Mapped[str | None] = mapped_column(String(2000))
    require_approval: Mapped[bool] = mapped_column(Boolean, default=False)
    release_window: Mapped[ReleaseWindow | None] = mapped_column(DocumentType(ReleaseWindow))
