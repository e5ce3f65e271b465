"""Watching: alerts and what they are judged by, silences, news and its deliveries, who is online."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005_watching"
down_revision = "0004_report_history"

ID = sa.Uuid(as_uuid=False)
TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("projects", sa.Column("container_config", JSON, nullable=True))
    op.add_column("clients", sa.Column("heard_at", TIME, nullable=True))
    op.add_column("clients", sa.Column("online", sa.Boolean(), nullable=True))
    op.add_column("clients", sa.Column("online_since", TIME, nullable=True))
    _create_alerts()
    _create_alert_memories()
    _create_silences()
    _create_news()
    _create_deliveries()


def downgrade() -> None:
    for table in ("deliveries", "news", "silences", "alert_memories", "alerts"):
        op.drop_table(table)
    for column in ("online_since", "online", "heard_at"):
        op.drop_column("clients", column)
    op.drop_column("projects", "container_config")


def _create_alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=40), nullable=False),
        sa.Column("level", sa.String(length=10), nullable=False),
        sa.Column("source", sa.String(length=20), nullable=False),
        sa.Column("client_id", sa.String(length=63), nullable=True),
        sa.Column("project_id", ID, nullable=True),
        sa.Column("subject", sa.String(length=253), nullable=False),
        sa.Column("title", sa.String(length=300), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("labels", JSON, nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("threshold", sa.Double(), nullable=True),
        sa.Column("since", TIME, nullable=False),
        sa.Column("held_at", TIME, nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.Column("holds", sa.Boolean(), nullable=False),
        sa.Column("for_s", sa.Double(), nullable=False),
        sa.Column("keep_firing_s", sa.Double(), nullable=False),
        sa.Column("stale_after_s", sa.Double(), nullable=False),
        sa.Column("due_at", TIME, nullable=True),
        sa.Column("fired_at", TIME, nullable=True),
        sa.Column("resolved_at", TIME, nullable=True),
        sa.Column("id", ID, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
    )
    live = sa.text("resolved_at IS NULL")
    op.create_index(
        "uq_alerts_live", "alerts", ["fingerprint"], unique=True, sqlite_where=live, postgresql_where=live
    )
    for columns in (["due_at"], ["project_id", "client_id"], ["client_id"], ["fired_at"], ["resolved_at"]):
        op.create_index(op.f(f"ix_alerts_{'_'.join(columns)}"), "alerts", columns)


def _create_alert_memories() -> None:
    op.create_table(
        "alert_memories",
        sa.Column("client_id", sa.String(length=63), nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("document", JSON, nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"],
            ["clients.client_id"],
            name=op.f("fk_alert_memories_client_id_clients"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_alert_memories_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("client_id", "project_id", "kind", name=op.f("pk_alert_memories")),
    )


def _create_silences() -> None:
    op.create_table(
        "silences",
        sa.Column("matchers", JSON, nullable=False),
        sa.Column("starts_at", TIME, nullable=False),
        sa.Column("ends_at", TIME, nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_silences")),
    )
    op.create_index(op.f("ix_silences_ends_at"), "silences", ["ends_at"])


def _create_news() -> None:
    op.create_table(
        "news",
        sa.Column("event", sa.String(length=20), nullable=False),
        sa.Column("level", sa.String(length=10), nullable=False),
        sa.Column("project_id", ID, nullable=True),
        sa.Column("client_id", sa.String(length=63), nullable=True),
        sa.Column("alert_id", ID, nullable=True),
        sa.Column("deploy_task_id", ID, nullable=True),
        sa.Column("title", sa.String(length=300), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("routed_at", TIME, nullable=True),
        sa.Column("id", ID, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_news")),
    )
    for column in ("routed_at", "alert_id", "at"):
        op.create_index(op.f(f"ix_news_{column}"), "news", [column])


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("news_id", ID, nullable=False),
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("next_at", TIME, nullable=False),
        sa.Column("sent_at", TIME, nullable=True),
        sa.Column("batch_id", ID, nullable=True),
        sa.Column("error", sa.String(length=500), nullable=True),
        sa.Column("id", ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["news_id"], ["news.id"], name=op.f("fk_deliveries_news_id_news"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
    )
    op.create_index(op.f("ix_deliveries_status_next_at"), "deliveries", ["status", "next_at"])
    op.create_index(op.f("ix_deliveries_news_id"), "deliveries", ["news_id"])
    op.create_index(op.f("ix_deliveries_channel_sent_at"), "deliveries", ["channel", "sent_at"])
