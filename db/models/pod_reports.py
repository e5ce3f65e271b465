"""Pod reports: the history, and the latest one per client and selection, updated in place.

Like the process reports' (db/models/reports.py), the history has no foreign keys and is partitioned by day.
"""

from datetime import date, datetime

from sqlalchemy import BigInteger, Boolean, Date, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from agent.wire.pods import PodInfo
from db.models.base import Base
from db.types import DocumentType, IdType, UtcDateTime


class PodReportRow(Base):
    """That there was a report, for as long as history is kept: what finds its repetition, and when it was.

    The same `report_id` of a client is one report. What it said is not kept, as with containers.
    """

    __tablename__ = "pod_reports"
    __table_args__ = ({"postgresql_partition_by": "RANGE (day)"},)

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    client_id: Mapped[str] = mapped_column(String(63), primary_key=True)
    report_key: Mapped[str] = mapped_column(IdType, primary_key=True)
    reported_at: Mapped[datetime] = mapped_column(UtcDateTime)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)


class LatestPodReport(Base):
    """The newest report (by `reported_at`) of each client and selection: the selection's pods, as the agent said it.

    `selection_key`: 128 bits of the hash of `namespace` and `label_selector`; None: of all namespaces, with any labels.
    `truncated`: some of the selection's are left out.
    `dropped_reports`: how many of all selections' the agent's spool had to drop so far, as it says itself.
    """

    __tablename__ = "latest_pod_reports"

    client_id: Mapped[str] = mapped_column(
        String(63), ForeignKey("clients.client_id", ondelete="CASCADE"), primary_key=True
    )
    selection_key: Mapped[str] = mapped_column(IdType, primary_key=True)
    namespace: Mapped[str | None] = mapped_column(String(63))
    label_selector: Mapped[str | None] = mapped_column(Text)
    truncated: Mapped[bool] = mapped_column(Boolean)
    pods: Mapped[tuple[PodInfo, ...]] = mapped_column(DocumentType(tuple[PodInfo, ...]))
    reported_at: Mapped[datetime] = mapped_column(UtcDateTime)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    dropped_reports: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
