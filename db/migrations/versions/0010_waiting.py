"""Waiting: news that is silenced is looked at again later; an alert waits from when it was heard of."""

import sqlalchemy as sa
from alembic import op

revision = "0010_waiting"
down_revision = "0009_usage"


def upgrade() -> None:
    op.add_column("news", sa.Column("postponed_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("alerts", sa.Column("heard_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("alerts", "heard_at")
    op.drop_column("news", "postponed_until")
