"""Spool drops: the newest reports keep how many an agent had to drop before them."""

import sqlalchemy as sa
from alembic import op

revision = "0008_spool_drops"
down_revision = "0007_pods"

TABLES = ("latest_process_reports", "latest_container_reports")


def upgrade() -> None:
    for table in TABLES:
        op.add_column(
            table, sa.Column("dropped_reports", sa.BigInteger(), nullable=False, server_default="0")
        )


def downgrade() -> None:
    for table in TABLES:
        op.drop_column(table, "dropped_reports")
