"""Containers: how a project names them, what a version deploys, what became of it, what clients report."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002_containers"
down_revision = "0001_initial"

ID = sa.Uuid(as_uuid=False)
TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("projects", sa.Column("container_naming", JSON, nullable=True))
    op.add_column("projects", sa.Column("container_prefix", sa.String(length=100), nullable=True))
    op.create_index(op.f("ix_projects_container_prefix"), "projects", ["container_prefix"], unique=True)
    op.add_column("versions", sa.Column("deploy_config", JSON, nullable=True))
    op.add_column("deploy_results", sa.Column("container_id", sa.String(length=64), nullable=True))
    op.add_column("deploy_results", sa.Column("container_name", sa.String(length=253), nullable=True))
    _create_container_reports()
    _create_latest_container_reports()


def downgrade() -> None:
    op.drop_table("latest_container_reports")
    op.drop_table("container_reports")
    op.drop_column("deploy_results", "container_name")
    op.drop_column("deploy_results", "container_id")
    op.drop_column("versions", "deploy_config")
    op.drop_index(op.f("ix_projects_container_prefix"), "projects")
    op.drop_column("projects", "container_prefix")
    op.drop_column("projects", "container_naming")


def _create_container_reports() -> None:
    op.create_table(
        "container_reports",
        sa.Column("client_id", sa.String(length=63), nullable=False),
        sa.Column("report_id", sa.String(length=200), nullable=False),
        *_reported(),
        sa.Column("id", ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"],
            ["clients.client_id"],
            name=op.f("fk_container_reports_client_id_clients"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_container_reports")),
        sa.UniqueConstraint("client_id", "report_id", name=op.f("uq_container_reports_client_id_report_id")),
    )
    op.create_index(
        op.f("ix_container_reports_client_id_reported_at"), "container_reports", ["client_id", "reported_at"]
    )
    op.create_index(op.f("ix_container_reports_received_at"), "container_reports", ["received_at"])


def _create_latest_container_reports() -> None:
    op.create_table(
        "latest_container_reports",
        sa.Column("client_id", sa.String(length=63), nullable=False),
        *_reported(),
        sa.ForeignKeyConstraint(
            ["client_id"],
            ["clients.client_id"],
            name=op.f("fk_latest_container_reports_client_id_clients"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_latest_container_reports")),
    )


def _reported() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("docker_version", sa.String(length=100), nullable=True),
        sa.Column("containers", JSON, nullable=False),
        sa.Column("reported_at", TIME, nullable=False),
        sa.Column("received_at", TIME, nullable=False),
    )
