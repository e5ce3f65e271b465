"""Deploy tasks, and what became of each of their clients."""

from datetime import datetime

from sqlalchemy import Boolean, ForeignKey, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.documents.deploy_request import DeployTaskRequest
from db.documents.evidence import Evidence
from db.documents.hold import HoldState
from db.documents.plan import Plan, Skipped
from db.documents.rollback import RollbackState
from db.documents.strategy import Strategy
from db.documents.usage import ClientUsage
from db.models.base import Base, Keyed, Timestamped
from db.types import DocumentType, IdType, UtcDateTime


class DeployTask(Keyed, Timestamped, Base):
    """One campaign. `request_key` makes its creation idempotent (a flow run's id); `cancel_running` is set by a cancel.

    Counts are counted from the results, never stored.
    `creator`: the token that made it, who can't approve it; `approved_digest`: the plan that was approved.
    `forgiven_failures`: clients whose failure a retry or a person left as it was, and which count against thresholds no
    more; `usage_accepted_at`: likewise what clients use that were upgraded by then. `promoted_waves`: so many waves' holds are over. `paused_by`: who wants no further client to be started.
    `going_back`: it is to be rolled back. `stopped_reason`: why nobody else is started, where that isn't failures.
    `hold`: what its run waits for.
    """

    __tablename__ = "deploy_tasks"
    __table_args__ = (Index(None, "project_id", "created_at"), Index(None, "status"))

    project_id: Mapped[str] = mapped_column(IdType, ForeignKey("projects.id", ondelete="RESTRICT"))
    version_id: Mapped[str | None] = mapped_column(IdType, ForeignKey("versions.id", ondelete="RESTRICT"))
    version: Mapped[str | None] = mapped_column(String(100))
    operation: Mapped[str] = mapped_column(String(20))
    environment: Mapped[str | None] = mapped_column(String(100))
    request: Mapped[DeployTaskRequest] = mapped_column(DocumentType(DeployTaskRequest))
    request_key: Mapped[str | None] = mapped_column(String(200), unique=True)
    selected_from_version: Mapped[str | None] = mapped_column(String(100))
    skipped: Mapped[tuple[Skipped, ...]] = mapped_column(DocumentType(tuple[Skipped, ...]), default=())
    strategy: Mapped[Strategy] = mapped_column(DocumentType(Strategy))
    failure_strategy: Mapped[str] = mapped_column(String(20))
    plan: Mapped[Plan] = mapped_column(DocumentType(Plan))
    status: Mapped[str] = mapped_column(String(20), default="pending")
    status_reason: Mapped[str | None] = mapped_column(String(1000))
    cancel_running: Mapped[str | None] = mapped_column(String(10))
    forgiven_failures: Mapped[int] = mapped_column(Integer, default=0)
    usage_accepted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    creator: Mapped[str | None] = mapped_column(String(200))
    approved_by: Mapped[str | None] = mapped_column(String(200))
    approved_digest: Mapped[str | None] = mapped_column(String(64))
    promoted_waves: Mapped[int] = mapped_column(Integer, default=0)
    paused_by: Mapped[str | None] = mapped_column(String(200))
    going_back: Mapped[bool] = mapped_column(Boolean, default=False)
    stopped_reason: Mapped[str | None] = mapped_column(String(1000))
    hold: Mapped[HoldState | None] = mapped_column(DocumentType(HoldState))
    flow_run_id: Mapped[str | None] = mapped_column(String(36))
    created_by: Mapped[str | None] = mapped_column(String(200))
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


MAY_BE_UNDER_WAY = "status = 'running' OR rollback IS NOT NULL"
"""Few results, of however many there are: all that are under way, forward or back, are among them."""


class DeployResult(Keyed, Base):
    """One client of one deploy task. The attempt is committed before its request is sent, so the execution id is too.

    History: a client that is deleted stays here by its name. `ran`: whether anything was executed there (None: nobody
    knows yet), `ran_before`: the same of the attempts before this one; `rollback`: how it was taken back to its previous
    version.
    """

    __tablename__ = "deploy_results"
    __table_args__ = (
        UniqueConstraint("deploy_task_id", "client_id"),
        Index(None, "client_id"),
        Index(
            "ix_deploy_results_under_way",
            "client_id",
            postgresql_where=text(MAY_BE_UNDER_WAY),
            sqlite_where=text(MAY_BE_UNDER_WAY),
        ),
    )

    deploy_task_id: Mapped[str] = mapped_column(IdType, ForeignKey("deploy_tasks.id", ondelete="RESTRICT"))
    client_id: Mapped[str] = mapped_column(String(63))
    target_id: Mapped[str] = mapped_column(IdType)
    wave: Mapped[int] = mapped_column(Integer)
    status: Mapped[str] = mapped_column(String(20), default="pending")
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    execution_id: Mapped[str | None] = mapped_column(String(200))
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    duration_ms: Mapped[int | None] = mapped_column(Integer)
    exit_code: Mapped[int | None] = mapped_column(Integer)
    error: Mapped[str | None] = mapped_column(String(2000))
    output: Mapped[str | None] = mapped_column(Text)
    evidence: Mapped[Evidence | None] = mapped_column(DocumentType(Evidence))
    ran: Mapped[bool | None] = mapped_column(Boolean)
    ran_before: Mapped[bool | None] = mapped_column(Boolean)
    rollback: Mapped[RollbackState | None] = mapped_column(DocumentType(RollbackState))
    usage: Mapped[ClientUsage | None] = mapped_column(DocumentType(ClientUsage))
    container_id: Mapped[str | None] = mapped_column(String(64))
    container_name: Mapped[str | None] = mapped_column(String(253))
