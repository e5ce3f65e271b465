"""Definitions as text: a process set's definitions are read whole, and never looked into; JSONB has to be written out anew each time."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0013_definitions_as_text"
down_revision = "0012_ran_before"


def upgrade() -> None:
    _become(sa.JSON(), "json")


def downgrade() -> None:
    _become(JSONB(), "jsonb")


def _become(kind: sa.types.TypeEngine[object], name: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column(
            "process_sets",
            "definitions",
            type_=kind,
            existing_nullable=False,
            postgresql_using=f"definitions::{name}",
        )
