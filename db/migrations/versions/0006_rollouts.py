"""Rollouts: a project's highest fence; holds, approvals, pauses and going back of deploy tasks; approval and windows of environments; freezes."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006_rollouts"
down_revision = "0005_watching"

ID = sa.Uuid(as_uuid=False)
TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")

TASK_COLUMNS = (
    ("creator", sa.String(length=200), None),
    ("approved_by", sa.String(length=200), None),
    ("approved_digest", sa.String(length=64), None),
    ("promoted_waves", sa.Integer(), "0"),
    ("paused_by", sa.String(length=200), None),
    ("going_back", sa.Boolean(), sa.false()),
    ("stopped_reason", sa.String(length=1000), None),
    ("hold", JSON, None),
)


def upgrade() -> None:
    for name, kind, default in TASK_COLUMNS:
        op.add_column("deploy_tasks", sa.Column(name, kind, nullable=default is None, server_default=default))
    op.add_column("deploy_results", sa.Column("ran", sa.Boolean(), nullable=True))
    op.add_column("deploy_results", sa.Column("rollback", JSON, nullable=True))
    op.add_column(
        "environments",
        sa.Column("require_approval", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.add_column("environments", sa.Column("release_window", JSON, nullable=True))
    op.add_column("projects", sa.Column("fence", sa.Integer(), nullable=False, server_default="0"))
    op.execute(
        "UPDATE projects SET fence = coalesce((SELECT max(leases.fence) FROM leases WHERE leases.project_id = projects.id), 0)"
    )
    for table in ("container_reports", "latest_container_reports"):
        op.add_column(table, sa.Column("truncated", sa.Boolean(), nullable=False, server_default=sa.false()))
    _create_freezes()


def downgrade() -> None:
    op.drop_table("freezes")
    for table in ("latest_container_reports", "container_reports"):
        op.drop_column(table, "truncated")
    op.drop_column("projects", "fence")
    for column in ("release_window", "require_approval"):
        op.drop_column("environments", column)
    for column in ("rollback", "ran"):
        op.drop_column("deploy_results", column)
    for name, _kind, _default in reversed(TASK_COLUMNS):
        op.drop_column("deploy_tasks", name)


def _create_freezes() -> None:
    op.create_table(
        "freezes",
        sa.Column("project_id", ID, nullable=True),
        sa.Column("environment_id", ID, nullable=True),
        sa.Column("reason", sa.String(length=1000), nullable=False),
        sa.Column("until", TIME, nullable=True),
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_freezes_project_id_projects"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["environment_id"],
            ["environments.id"],
            name=op.f("fk_freezes_environment_id_environments"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_freezes")),
    )
    op.create_index(op.f("ix_freezes_project_id"), "freezes", ["project_id"])
