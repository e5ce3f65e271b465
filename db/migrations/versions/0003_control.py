"""Control of deploy tasks: what a retry forgives."""

import sqlalchemy as sa
from alembic import op

revision = "0003_control"
down_revision = "0002_containers"


def upgrade() -> None:
    op.add_column(
        "deploy_tasks", sa.Column("forgiven_failures", sa.Integer(), nullable=False, server_default="0")
    )


def downgrade() -> None:
    op.drop_column("deploy_tasks", "forgiven_failures")
