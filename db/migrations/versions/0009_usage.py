"""Usage: what a client's processes use before and after an upgrade."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009_usage"
down_revision = "0008_spool_drops"

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.add_column("deploy_results", sa.Column("usage", JSON, nullable=True))
    op.add_column("deploy_tasks", sa.Column("usage_accepted_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("deploy_tasks", "usage_accepted_at")
    op.drop_column("deploy_results", "usage")
