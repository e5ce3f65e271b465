"""Compact history: of a container or pod report it keeps what finds its repetition and says when. Nothing read the rest.

On PostgreSQL the columns are gone at once, and what they held goes with its day. SQLite copies what is kept, once each
table: its file stays as large, and is filled again before it grows. What is freed is not overwritten (secure_delete),
which would take as much room once more, in the WAL. Back, the rows say that there was nothing: `[]`.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0015_compact_history"
down_revision = "0014_deployments_under_way"

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
NO_SELECTION = "0" * 32
"""A UUID, as either database reads it."""


def upgrade() -> None:
    connection = op.get_bind()
    is_sqlite = connection.dialect.name == "sqlite"
    before = connection.exec_driver_sql("PRAGMA secure_delete").scalar_one() if is_sqlite else None
    if is_sqlite:
        connection.exec_driver_sql("PRAGMA secure_delete = 0")
    for table, columns in _said().items():
        with op.batch_alter_table(table) as batch:
            for column in columns:
                batch.drop_column(column.name)
    if is_sqlite:
        connection.exec_driver_sql(f"PRAGMA secure_delete = {int(before or 0)}")


def downgrade() -> None:
    for table, columns in _said().items():
        for column in columns:
            op.add_column(table, column)
        with op.batch_alter_table(table) as batch:
            for column in columns:
                if (table, column.name) != ("container_reports", "truncated"):  # has its default from 0006
                    batch.alter_column(column.name, server_default=None, existing_type=column.type)


def _said() -> dict[str, tuple[sa.Column[object], ...]]:
    """By table, each with a default for the rows that are there."""
    return {
        "container_reports": (
            sa.Column("docker_version", sa.String(length=100), nullable=True),
            sa.Column("containers", JSON, nullable=False, server_default="[]"),
            sa.Column("truncated", sa.Boolean(), nullable=False, server_default=sa.false()),
        ),
        "pod_reports": (
            sa.Column("selection_key", sa.Uuid(as_uuid=False), nullable=False, server_default=NO_SELECTION),
            sa.Column("namespace", sa.String(length=63), nullable=True),
            sa.Column("label_selector", sa.Text(), nullable=True),
            sa.Column("truncated", sa.Boolean(), nullable=False, server_default=sa.false()),
            sa.Column("pods", JSON, nullable=False, server_default="[]"),
        ),
    }
