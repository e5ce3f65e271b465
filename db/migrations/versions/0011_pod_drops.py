"""Pod drops: the newest pod reports keep how many an agent had to drop before them, as those of processes and containers do."""

import sqlalchemy as sa
from alembic import op

revision = "0011_pod_drops"
down_revision = "0010_waiting"


def upgrade() -> None:
    op.add_column(
        "latest_pod_reports",
        sa.Column("dropped_reports", sa.BigInteger(), nullable=False, server_default="0"),
    )


def downgrade() -> None:
    op.drop_column("latest_pod_reports", "dropped_reports")
