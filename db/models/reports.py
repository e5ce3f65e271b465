"""Process reports: the history, and the latest one per client and project, updated in place."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from agent.wire.processes import ProcessInfo
from db.models.base import Base, Keyed
from db.types import DocumentType, IdType, JsonType, UtcDateTime


class ReportedProcesses:
    """What both tables keep of a report."""

    project_id: Mapped[str] = mapped_column(IdType, ForeignKey("projects.id", ondelete="CASCADE"))
    version: Mapped[str] = mapped_column(String(100))
    observed_version: Mapped[str | None] = mapped_column(String(100))
    release_id: Mapped[str | None] = mapped_column(String(200))
    processes: Mapped[tuple[ProcessInfo, ...]] = mapped_column(DocumentType(tuple[ProcessInfo, ...]))
    unmatched_rules: Mapped[list[str]] = mapped_column(JsonType, default=list)
    reported_at: Mapped[datetime] = mapped_column(UtcDateTime)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ProcessReportRow(Keyed, ReportedProcesses, Base):
    """Every report, for as long as history is kept. The same `report_id` of a client is one report."""

    __tablename__ = "process_reports"
    __table_args__ = (
        UniqueConstraint("client_id", "report_id"),
        Index(None, "project_id", "client_id", "reported_at"),
        Index(None, "received_at"),
    )

    client_id: Mapped[str] = mapped_column(String(63), ForeignKey("clients.client_id", ondelete="CASCADE"))
    report_id: Mapped[str] = mapped_column(String(200))


class LatestProcessReport(Keyed, ReportedProcesses, Base):
    """The newest report (by `reported_at`) of each client and project."""

    __tablename__ = "latest_process_reports"
    __table_args__ = (UniqueConstraint("project_id", "client_id"),)

    client_id: Mapped[str] = mapped_column(String(63), ForeignKey("clients.client_id", ondelete="CASCADE"))
