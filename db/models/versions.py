"""Versions: the scripts or the container that bring a project there, what to watch, what proves it."""

from sqlalchemy import ForeignKey, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from agent.wire.containers import DeployConfig
from agent.wire.processes import ProcessConfig
from db.documents.evidence import EvidenceConfig
from db.models.base import Base, Keyed, Timestamped
from db.types import DocumentType, IdType, JsonType


class Version(Keyed, Timestamped, Base):
    __tablename__ = "versions"
    __table_args__ = (UniqueConstraint("project_id", "version"),)

    project_id: Mapped[str] = mapped_column(IdType, ForeignKey("projects.id", ondelete="RESTRICT"))
    version: Mapped[str] = mapped_column(String(100))
    description: Mapped[str | None] = mapped_column(String(2000))
    status: Mapped[str] = mapped_column(String(20), default="draft")
    work_dir: Mapped[str | None] = mapped_column(String(4096))
    install_script: Mapped[str | None] = mapped_column(Text)
    update_script: Mapped[str | None] = mapped_column(Text)
    rollback_script: Mapped[str | None] = mapped_column(Text)
    uninstall_script: Mapped[str | None] = mapped_column(Text)
    timeout_s: Mapped[int] = mapped_column(Integer, default=900)
    interpreter: Mapped[str] = mapped_column(String(4096), default="/bin/bash")
    run_as: Mapped[str | None] = mapped_column(String(32))
    env: Mapped[dict[str, str]] = mapped_column(JsonType, default=dict)
    detach_method: Mapped[str | None] = mapped_column(String(20))
    deploy_config: Mapped[DeployConfig | None] = mapped_column(DocumentType(DeployConfig))
    process_config: Mapped[ProcessConfig | None] = mapped_column(DocumentType(ProcessConfig))
    evidence: Mapped[EvidenceConfig | None] = mapped_column(DocumentType(EvidenceConfig))
