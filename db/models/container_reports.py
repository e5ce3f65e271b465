"""Container reports: the history, and the latest one per client, updated in place.

Like the process reports' (db/models/reports.py), the history has no foreign keys and is partitioned by day.
"""

from datetime import date, datetime

from sqlalchemy import BigInteger, Boolean, Date, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from agent.wire.containers import ContainerInfo
from db.models.base import Base
from db.types import DocumentType, IdType, UtcDateTime


class ContainerReportRow(Base):
    """That there was a report, for as long as history is kept: what finds its repetition, and when it was.

    The same `report_id` of a client is one report. What it said is not kept: the newest row has what runs now, and
    nothing asks what ran before. The processes' history keeps it, as sets and samples.
    """

    __tablename__ = "container_reports"
    __table_args__ = ({"postgresql_partition_by": "RANGE (day)"},)

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    client_id: Mapped[str] = mapped_column(String(63), primary_key=True)
    report_key: Mapped[str] = mapped_column(IdType, primary_key=True)
    reported_at: Mapped[datetime] = mapped_column(UtcDateTime)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)


class LatestContainerReport(Base):
    """The newest report (by `reported_at`) of each client: every container of its engine, as the agent said it.

    `truncated`: not every one, for the report would have been too large. `dropped_reports` as with processes.
    """

    __tablename__ = "latest_container_reports"

    client_id: Mapped[str] = mapped_column(
        String(63), ForeignKey("clients.client_id", ondelete="CASCADE"), primary_key=True
    )
    docker_version: Mapped[str | None] = mapped_column(String(100))
    containers: Mapped[tuple[ContainerInfo, ...]] = mapped_column(DocumentType(tuple[ContainerInfo, ...]))
    reported_at: Mapped[datetime] = mapped_column(UtcDateTime)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    truncated: Mapped[bool] = mapped_column(Boolean, default=False)
    dropped_reports: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
