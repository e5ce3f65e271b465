"""The first schema: projects, fleet, versions, deploy tasks, reports, leases, the audit trail."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001_initial"
down_revision = None

ID = sa.Uuid(as_uuid=False)
TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")

TABLES = (
    "audit_entries",
    "clients",
    "idempotency_keys",
    "installation_events",
    "projects",
    "environments",
    "latest_process_reports",
    "process_reports",
    "versions",
    "deploy_tasks",
    "leases",
    "targets",
    "deploy_results",
    "installations",
)
"""In the order in which they are made: a table comes after those that it refers to."""


def upgrade() -> None:
    _create_audit_entries()
    _create_clients()
    _create_idempotency_keys()
    _create_installation_events()
    _create_projects()
    _create_environments()
    _create_latest_process_reports()
    _create_process_reports()
    _create_versions()
    _create_deploy_tasks()
    _create_leases()
    _create_targets()
    _create_deploy_results()
    _create_installations()


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)


def _create_audit_entries() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("at", TIME, nullable=False),
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=100), nullable=False),
        sa.Column("subject", sa.String(length=300), nullable=False),
        sa.Column("detail", JSON, nullable=False),
        sa.Column("project_id", ID, nullable=True),
        sa.Column("client_id", sa.String(length=63), nullable=True),
        sa.Column("deploy_task_id", ID, nullable=True),
        sa.Column("id", ID, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entries")),
    )
    op.create_index(op.f("ix_audit_entries_at"), "audit_entries", ["at"], unique=False)
    op.create_index(op.f("ix_audit_entries_client_id"), "audit_entries", ["client_id"], unique=False)
    op.create_index(
        op.f("ix_audit_entries_deploy_task_id"), "audit_entries", ["deploy_task_id"], unique=False
    )
    op.create_index(op.f("ix_audit_entries_project_id"), "audit_entries", ["project_id"], unique=False)


def _create_clients() -> None:
    op.create_table(
        "clients",
        sa.Column("client_id", sa.String(length=63), nullable=False),
        sa.Column("url", sa.String(length=2000), nullable=False),
        sa.Column("labels", JSON, nullable=False),
        sa.Column("token_encrypted", sa.LargeBinary(), nullable=True),
        sa.Column("report_token_sha256", sa.String(length=64), nullable=False),
        sa.Column("old_report_token_sha256", sa.String(length=64), nullable=True),
        sa.Column("old_report_token_until", TIME, nullable=True),
        sa.Column("held_reason", sa.String(length=500), nullable=True),
        sa.Column("held_until", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_clients")),
        sa.UniqueConstraint("old_report_token_sha256", name=op.f("uq_clients_old_report_token_sha256")),
        sa.UniqueConstraint("report_token_sha256", name=op.f("uq_clients_report_token_sha256")),
    )


def _create_idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("request_sha256", sa.String(length=64), nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("answer_encrypted", sa.Text(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_idempotency_keys")),
        sa.UniqueConstraint("who", "key", name=op.f("uq_idempotency_keys_who_key")),
    )
    op.create_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"], unique=False)


def _create_installation_events() -> None:
    op.create_table(
        "installation_events",
        sa.Column("target_id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("client_id", sa.String(length=63), nullable=False),
        sa.Column("version", sa.String(length=100), nullable=False),
        sa.Column("previous_version", sa.String(length=100), nullable=True),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("deploy_task_id", ID, nullable=True),
        sa.Column("at", TIME, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation_events")),
    )
    op.create_index(
        op.f("ix_installation_events_target_id_at"), "installation_events", ["target_id", "at"], unique=False
    )


def _create_projects() -> None:
    op.create_table(
        "projects",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("type", sa.String(length=20), nullable=False),
        sa.Column("description", sa.String(length=2000), nullable=True),
        sa.Column("default_strategy", JSON, nullable=True),
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        sa.UniqueConstraint("name", name=op.f("uq_projects_name")),
    )


def _create_environments() -> None:
    op.create_table(
        "environments",
        sa.Column("project_id", ID, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("description", sa.String(length=2000), nullable=True),
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_environments_project_id_projects"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_environments")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_environments_project_id_name")),
    )


def _create_latest_process_reports() -> None:
    op.create_table(
        "latest_process_reports",
        sa.Column("client_id", sa.String(length=63), nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("version", sa.String(length=100), nullable=False),
        sa.Column("observed_version", sa.String(length=100), nullable=True),
        sa.Column("release_id", sa.String(length=200), nullable=True),
        sa.Column("processes", JSON, nullable=False),
        sa.Column("unmatched_rules", JSON, nullable=False),
        sa.Column("reported_at", TIME, nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"],
            ["clients.client_id"],
            name=op.f("fk_latest_process_reports_client_id_clients"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_latest_process_reports_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_latest_process_reports")),
        sa.UniqueConstraint(
            "project_id", "client_id", name=op.f("uq_latest_process_reports_project_id_client_id")
        ),
    )


def _create_process_reports() -> None:
    op.create_table(
        "process_reports",
        sa.Column("client_id", sa.String(length=63), nullable=False),
        sa.Column("report_id", sa.String(length=200), nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("version", sa.String(length=100), nullable=False),
        sa.Column("observed_version", sa.String(length=100), nullable=True),
        sa.Column("release_id", sa.String(length=200), nullable=True),
        sa.Column("processes", JSON, nullable=False),
        sa.Column("unmatched_rules", JSON, nullable=False),
        sa.Column("reported_at", TIME, nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"],
            ["clients.client_id"],
            name=op.f("fk_process_reports_client_id_clients"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_process_reports_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_process_reports")),
        sa.UniqueConstraint("client_id", "report_id", name=op.f("uq_process_reports_client_id_report_id")),
    )
    op.create_index(
        op.f("ix_process_reports_project_id_client_id_reported_at"),
        "process_reports",
        ["project_id", "client_id", "reported_at"],
        unique=False,
    )
    op.create_index(op.f("ix_process_reports_received_at"), "process_reports", ["received_at"], unique=False)


def _create_versions() -> None:
    op.create_table(
        "versions",
        sa.Column("project_id", ID, nullable=False),
        sa.Column("version", sa.String(length=100), nullable=False),
        sa.Column("description", sa.String(length=2000), nullable=True),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("work_dir", sa.String(length=4096), nullable=True),
        sa.Column("install_script", sa.Text(), nullable=True),
        sa.Column("update_script", sa.Text(), nullable=True),
        sa.Column("rollback_script", sa.Text(), nullable=True),
        sa.Column("uninstall_script", sa.Text(), nullable=True),
        sa.Column("timeout_s", sa.Integer(), nullable=False),
        sa.Column("interpreter", sa.String(length=4096), nullable=False),
        sa.Column("run_as", sa.String(length=32), nullable=True),
        sa.Column("env", JSON, nullable=False),
        sa.Column("detach_method", sa.String(length=20), nullable=True),
        sa.Column("process_config", JSON, nullable=True),
        sa.Column("evidence", JSON, nullable=True),
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_versions_project_id_projects"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_versions")),
        sa.UniqueConstraint("project_id", "version", name=op.f("uq_versions_project_id_version")),
    )


def _create_deploy_tasks() -> None:
    op.create_table(
        "deploy_tasks",
        sa.Column("project_id", ID, nullable=False),
        sa.Column("version_id", ID, nullable=True),
        sa.Column("version", sa.String(length=100), nullable=True),
        sa.Column("operation", sa.String(length=20), nullable=False),
        sa.Column("environment", sa.String(length=100), nullable=True),
        sa.Column("request", JSON, nullable=False),
        sa.Column("request_key", sa.String(length=200), nullable=True),
        sa.Column("selected_from_version", sa.String(length=100), nullable=True),
        sa.Column("skipped", JSON, nullable=False),
        sa.Column("strategy", JSON, nullable=False),
        sa.Column("failure_strategy", sa.String(length=20), nullable=False),
        sa.Column("plan", JSON, nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("status_reason", sa.String(length=1000), nullable=True),
        sa.Column("cancel_running", sa.String(length=10), nullable=True),
        sa.Column("flow_run_id", sa.String(length=36), nullable=True),
        sa.Column("created_by", sa.String(length=200), nullable=True),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_deploy_tasks_project_id_projects"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["versions.id"],
            name=op.f("fk_deploy_tasks_version_id_versions"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deploy_tasks")),
        sa.UniqueConstraint("request_key", name=op.f("uq_deploy_tasks_request_key")),
    )
    op.create_index(
        op.f("ix_deploy_tasks_project_id_created_at"),
        "deploy_tasks",
        ["project_id", "created_at"],
        unique=False,
    )
    op.create_index(op.f("ix_deploy_tasks_status"), "deploy_tasks", ["status"], unique=False)


def _create_leases() -> None:
    op.create_table(
        "leases",
        sa.Column("project_id", ID, nullable=False),
        sa.Column("environment_id", ID, nullable=False),
        sa.Column("deploy_task_id", ID, nullable=True),
        sa.Column("holder", sa.String(length=200), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("expires_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["environment_id"],
            ["environments.id"],
            name=op.f("fk_leases_environment_id_environments"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_leases_project_id_projects"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", "environment_id", name=op.f("pk_leases")),
    )


def _create_targets() -> None:
    op.create_table(
        "targets",
        sa.Column("project_id", ID, nullable=False),
        sa.Column("environment_id", ID, nullable=False),
        sa.Column("client_id", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("type", sa.String(length=20), nullable=False),
        sa.Column("labels", JSON, nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"],
            ["clients.client_id"],
            name=op.f("fk_targets_client_id_clients"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["environment_id"],
            ["environments.id"],
            name=op.f("fk_targets_environment_id_environments"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_targets_project_id_projects"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_targets")),
        sa.UniqueConstraint("project_id", "client_id", name=op.f("uq_targets_project_id_client_id")),
    )
    op.create_index(op.f("ix_targets_client_id"), "targets", ["client_id"], unique=False)
    op.create_index(op.f("ix_targets_environment_id"), "targets", ["environment_id"], unique=False)


def _create_deploy_results() -> None:
    op.create_table(
        "deploy_results",
        sa.Column("deploy_task_id", ID, nullable=False),
        sa.Column("client_id", sa.String(length=63), nullable=False),
        sa.Column("target_id", ID, nullable=False),
        sa.Column("wave", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("execution_id", sa.String(length=200), nullable=True),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(length=2000), nullable=True),
        sa.Column("output", sa.Text(), nullable=True),
        sa.Column("evidence", JSON, nullable=True),
        sa.Column("id", ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["deploy_task_id"],
            ["deploy_tasks.id"],
            name=op.f("fk_deploy_results_deploy_task_id_deploy_tasks"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deploy_results")),
        sa.UniqueConstraint(
            "deploy_task_id", "client_id", name=op.f("uq_deploy_results_deploy_task_id_client_id")
        ),
    )
    op.create_index(op.f("ix_deploy_results_client_id"), "deploy_results", ["client_id"], unique=False)


def _create_installations() -> None:
    op.create_table(
        "installations",
        sa.Column("project_id", ID, nullable=False),
        sa.Column("target_id", ID, nullable=False),
        sa.Column("environment_id", ID, nullable=False),
        sa.Column("client_id", sa.String(length=63), nullable=False),
        sa.Column("version", sa.String(length=100), nullable=False),
        sa.Column("previous_version", sa.String(length=100), nullable=True),
        sa.Column("observed_version", sa.String(length=100), nullable=True),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("installed_at", TIME, nullable=False),
        sa.Column("last_updated_at", TIME, nullable=False),
        sa.Column("deploy_task_id", ID, nullable=True),
        sa.Column("evidence", JSON, nullable=True),
        sa.Column("id", ID, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"],
            ["clients.client_id"],
            name=op.f("fk_installations_client_id_clients"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["environment_id"],
            ["environments.id"],
            name=op.f("fk_installations_environment_id_environments"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_installations_project_id_projects"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["target_id"],
            ["targets.id"],
            name=op.f("fk_installations_target_id_targets"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installations")),
        sa.UniqueConstraint("target_id", name=op.f("uq_installations_target_id")),
    )
    op.create_index(
        op.f("ix_installations_project_id_status_version"),
        "installations",
        ["project_id", "status", "version"],
        unique=False,
    )
