"""Container reports: the history, and the latest one per client, updated in place."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from agent.wire.containers import ContainerInfo
from db.models.base import Base, Keyed
from db.types import DocumentType, UtcDateTime


class ReportedContainers:
    """What both tables keep of a report: every container of the client's engine, as the agent said it."""

    docker_version: Mapped[str | None] = mapped_column(String(100))
    containers: Mapped[tuple[ContainerInfo, ...]] = mapped_column(DocumentType(tuple[ContainerInfo, ...]))
    reported_at: Mapped[datetime] = mapped_column(UtcDateTime)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ContainerReportRow(Keyed, ReportedContainers, Base):
    """Every report, for as long as history is kept. The same `report_id` of a client is one report."""

    __tablename__ = "container_reports"
    __table_args__ = (
        UniqueConstraint("client_id", "report_id"),
        Index(None, "client_id", "reported_at"),
        Index(None, "received_at"),
    )

    client_id: Mapped[str] = mapped_column(String(63), ForeignKey("clients.client_id", ondelete="CASCADE"))
    report_id: Mapped[str] = mapped_column(String(200))


class LatestContainerReport(ReportedContainers, Base):
    """The newest report (by `reported_at`) of each client."""

    __tablename__ = "latest_container_reports"

    client_id: Mapped[str] = mapped_column(
        String(63), ForeignKey("clients.client_id", ondelete="CASCADE"), primary_key=True
    )
