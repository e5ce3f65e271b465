"""Process reports: the history, and the latest one per client and project, updated in place.

What stays the same from one report to the next (which processes, of which version) is said once, in a process set;
a report then is a reference to it and the samples, as arrays in the order of the set's processes.

The history has no foreign keys: they would be checked row by row. It is partitioned by day on PostgreSQL (db/history).
"""

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    JSON,
    REAL,
    BigInteger,
    Date,
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import TypeEngine

from db.models.base import Base
from db.types import IdType, JsonType, UtcDateTime

Samples = list[float | None] | None
"""One value for each process, None where it was not measured; None: none of them was."""


def _array(number: TypeEngine[float]) -> Any:
    return JSON(none_as_null=True).with_variant(ARRAY(number), "postgresql")


class ProcessSet(Base):
    """What a client said of a project's processes that is no measurement.

    `definitions`: ProcessInfo documents without the samples, kept as text: they are read whole, and never looked into.
    `digest`: of all that is said. `last_day`: of the newest report that refers to it (or a later one); a set that nothing
    refers to any more is dropped with the history.
    """

    __tablename__ = "process_sets"
    __table_args__ = (UniqueConstraint("client_id", "project_id", "digest"), Index(None, "last_day"))

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    client_id: Mapped[str] = mapped_column(String(63), ForeignKey("clients.client_id", ondelete="CASCADE"))
    project_id: Mapped[str] = mapped_column(IdType, ForeignKey("projects.id", ondelete="CASCADE"))
    digest: Mapped[str] = mapped_column(IdType)
    version: Mapped[str] = mapped_column(String(100))
    observed_version: Mapped[str | None] = mapped_column(String(100))
    release_id: Mapped[str | None] = mapped_column(String(200))
    unmatched_rules: Mapped[list[str]] = mapped_column(JsonType)
    definitions: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    last_day: Mapped[date] = mapped_column(Date)


class ProcessReportRow(Base):
    """Every report, for as long as history is kept. The same `report_id` of a client is one report.

    `day`: which partition (UTC); `report_key`: 128 bits of the report's id's hash; `statuses`: a letter per process.
    """

    __tablename__ = "process_reports"
    __table_args__ = ({"postgresql_partition_by": "RANGE (day)"},)

    set_id: Mapped[int] = mapped_column(Integer)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    client_id: Mapped[str] = mapped_column(String(63), primary_key=True)
    report_key: Mapped[str] = mapped_column(IdType, primary_key=True)
    reported_at: Mapped[datetime] = mapped_column(UtcDateTime)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    statuses: Mapped[str] = mapped_column(Text)
    cpu_percent: Mapped[Samples] = mapped_column(_array(REAL()))
    memory_mb: Mapped[Samples] = mapped_column(_array(REAL()))
    memory_pct: Mapped[Samples] = mapped_column(_array(REAL()))


class LatestProcessReport(Base):
    """The newest report (by `reported_at`) of each client and project, its samples as exact as they came.

    `dropped_reports`: how many of the project's the agent's spool had to drop so far, as it says itself.
    """

    __tablename__ = "latest_process_reports"
    __table_args__ = (Index(None, "set_id"),)

    project_id: Mapped[str] = mapped_column(
        IdType, ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True
    )
    client_id: Mapped[str] = mapped_column(
        String(63), ForeignKey("clients.client_id", ondelete="CASCADE"), primary_key=True
    )
    set_id: Mapped[int] = mapped_column(Integer, ForeignKey("process_sets.id", ondelete="CASCADE"))
    reported_at: Mapped[datetime] = mapped_column(UtcDateTime)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    statuses: Mapped[str] = mapped_column(Text)
    cpu_percent: Mapped[Samples] = mapped_column(_array(Double()))
    memory_mb: Mapped[Samples] = mapped_column(_array(Double()))
    memory_pct: Mapped[Samples] = mapped_column(_array(Double()))
    dropped_reports: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
