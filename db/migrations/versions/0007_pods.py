"""Pods: what clients report of their clusters, and how Kubernetes projects are deployed and watched."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007_pods"
down_revision = "0006_rollouts"

ID = sa.Uuid(as_uuid=False)
TIME = sa.DateTime(timezone=True)
JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.add_column("projects", sa.Column("kubernetes_config", JSON, nullable=True))
    op.create_table(
        "pod_reports",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("client_id", sa.String(length=63), nullable=False),
        sa.Column("report_key", ID, nullable=False),
        *_reported(),
        sa.PrimaryKeyConstraint("day", "client_id", "report_key", name=op.f("pk_pod_reports")),
        postgresql_partition_by="RANGE (day)",
    )
    op.create_table(
        "latest_pod_reports",
        sa.Column("client_id", sa.String(length=63), nullable=False),
        *_reported(),
        sa.ForeignKeyConstraint(
            ["client_id"],
            ["clients.client_id"],
            name=op.f("fk_latest_pod_reports_client_id_clients"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("client_id", "selection_key", name=op.f("pk_latest_pod_reports")),
    )


def downgrade() -> None:
    op.drop_table("latest_pod_reports")
    op.drop_table("pod_reports")
    op.drop_column("projects", "kubernetes_config")


def _reported() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("selection_key", ID, nullable=False),
        sa.Column("namespace", sa.String(length=63), nullable=True),
        sa.Column("label_selector", sa.Text(), nullable=True),
        sa.Column("truncated", sa.Boolean(), nullable=False),
        sa.Column("pods", JSON, nullable=False),
        sa.Column("reported_at", TIME, nullable=False),
        sa.Column("received_at", TIME, nullable=False),
    )
