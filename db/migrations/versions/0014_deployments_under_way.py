"""Deployments under way: which clients one is at work on is asked with every batch of reports, however long their history."""

import sqlalchemy as sa
from alembic import op

revision = "0014_deployments_under_way"
down_revision = "0013_definitions_as_text"
UNDER_WAY = sa.text("status = 'running' OR rollback IS NOT NULL")


def upgrade() -> None:
    op.create_index(
        "ix_deploy_results_under_way",
        "deploy_results",
        ["client_id"],
        postgresql_where=UNDER_WAY,
        sqlite_where=UNDER_WAY,
    )


def downgrade() -> None:
    op.drop_index("ix_deploy_results_under_way", "deploy_results")
