"""Ran before: whether an attempt before the last one ran, which what is heard of the last one can't undo."""

import sqlalchemy as sa
from alembic import op

revision = "0012_ran_before"
down_revision = "0011_pod_drops"


def upgrade() -> None:
    op.add_column("deploy_results", sa.Column("ran_before", sa.Boolean(), nullable=True))


def downgrade() -> None:
    op.drop_column("deploy_results", "ran_before")
