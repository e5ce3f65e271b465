"""Reports at scale: process sets said once, samples as arrays, a history that is partitioned by day (PostgreSQL).

The latest reports are carried over, both ways. The history is not: nothing reads it before this revision, it is at
most `HOIST_API_REPORT_HISTORY_DAYS` of monitoring, and a report in it whose repetition would come after the migration
is then in the new history once.
"""

import hashlib
import json
import uuid
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004_report_history"
down_revision = "0003_control"

ID = sa.Uuid(as_uuid=False)
TIME = sa.DateTime(timezone=True)
JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
REALS = sa.JSON(none_as_null=True).with_variant(sa.ARRAY(sa.REAL()), "postgresql")
DOUBLES = sa.JSON(none_as_null=True).with_variant(sa.ARRAY(sa.Double()), "postgresql")
LETTERS = {
    "running": "R",
    "sleeping": "S",
    "disk_sleep": "D",
    "stopped": "T",
    "zombie": "Z",
    "idle": "I",
}
SAMPLED = ("cpu_percent", "memory_mb", "memory_pct")
LATEST = "latest_process_reports"


def upgrade() -> None:
    latest = _read(LATEST, processes=JSON, unmatched_rules=JSON)
    for table in (LATEST, "process_reports", "container_reports"):
        op.drop_table(table)
    _create_process_sets()
    _create_process_reports()
    _create_latest_process_reports()
    _create_container_reports()
    if op.get_bind().dialect.name == "postgresql":
        # Updated in place, again and again: room on the page keeps the update off the indexes (HOT).
        op.execute(f"ALTER TABLE {LATEST} SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05)")
    for row in latest:
        _carry_forward(row)


def downgrade() -> None:
    doubles = dict.fromkeys(SAMPLED, DOUBLES)
    latest = _read(LATEST, **doubles)
    sets = {row["id"]: row for row in _read("process_sets", definitions=JSON, unmatched_rules=JSON)}
    for table in (LATEST, "process_sets", "process_reports", "container_reports"):
        op.drop_table(table)
    _create_old_latest_process_reports()
    _create_old_process_reports()
    _create_old_container_reports()
    for row in latest:
        _carry_back(row, sets[row["set_id"]])


def _read(table: str, **types: Any) -> list[dict[str, Any]]:
    known = {"project_id": ID, "reported_at": TIME, "received_at": TIME, **types}
    names = [column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)]
    source = sa.table(table, *(sa.column(name, known.get(name)) for name in names))
    return [dict(row) for row in op.get_bind().execute(sa.select(source)).mappings()]


def _carry_forward(row: dict[str, Any]) -> None:
    processes = row["processes"]
    said = {name: row[name] for name in ("version", "observed_version", "release_id", "unmatched_rules")}
    definitions = [
        {key: value for key, value in one.items() if key not in (*SAMPLED, "status") and value is not None}
        for one in processes
    ]
    digest = hashlib.blake2b(json.dumps([said, definitions]).encode(), digest_size=16).hexdigest()
    sets = sa.table(
        "process_sets",
        sa.column("id", sa.Integer),
        sa.column("client_id", sa.String),
        sa.column("project_id", ID),
        sa.column("digest", ID),
        sa.column("version", sa.String),
        sa.column("observed_version", sa.String),
        sa.column("release_id", sa.String),
        sa.column("unmatched_rules", JSON),
        sa.column("definitions", JSON),
        sa.column("last_day", sa.Date),
    )
    who = {"client_id": row["client_id"], "project_id": row["project_id"]}
    values = {"digest": str(uuid.UUID(digest)), "definitions": definitions, **said, **who}
    last_day = datetime.now(UTC).date()
    put = sa.insert(sets).values(**values, last_day=last_day).returning(sets.c.id)
    op.bulk_insert(
        _latest(),
        [
            {
                **who,
                "set_id": op.get_bind().scalar(put),
                "reported_at": row["reported_at"],
                "received_at": row["received_at"],
                "statuses": "".join(LETTERS[one["status"]] for one in processes),
                **{name: _samples([one.get(name) for one in processes]) for name in SAMPLED},
            }
        ],
    )


def _samples(values: list[Any]) -> list[Any] | None:
    return values if any(value is not None for value in values) else None


def _latest() -> sa.TableClause:
    return sa.table(
        LATEST,
        sa.column("project_id", ID),
        sa.column("client_id", sa.String),
        sa.column("set_id", sa.Integer),
        sa.column("reported_at", TIME),
        sa.column("received_at", TIME),
        sa.column("statuses", sa.Text),
        *(sa.column(name, DOUBLES) for name in SAMPLED),
    )


def _carry_back(row: dict[str, Any], said: dict[str, Any]) -> None:
    words = {letter: word for word, letter in LETTERS.items()}
    processes = []
    for index, definition in enumerate(said["definitions"]):
        samples = {name: row[name][index] if row[name] else None for name in SAMPLED}
        processes.append({**definition, **samples, "status": words[row["statuses"][index]]})
    old = sa.table(
        LATEST,
        sa.column("id", ID),
        sa.column("client_id", sa.String),
        sa.column("project_id", ID),
        sa.column("version", sa.String),
        sa.column("observed_version", sa.String),
        sa.column("release_id", sa.String),
        sa.column("processes", JSON),
        sa.column("unmatched_rules", JSON),
        sa.column("reported_at", TIME),
        sa.column("received_at", TIME),
    )
    kept = {name: row[name] for name in ("client_id", "project_id", "reported_at", "received_at")}
    header = {name: said[name] for name in ("version", "observed_version", "release_id", "unmatched_rules")}
    op.bulk_insert(old, [{"id": str(uuid.uuid4()), "processes": processes, **kept, **header}])


def _refers(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    target = to.partition(".")[0]
    return sa.ForeignKeyConstraint(
        [column], [to], name=op.f(f"fk_{table}_{column}_{target}"), ondelete="CASCADE"
    )


def _create_process_sets() -> None:
    table = "process_sets"
    op.create_table(
        table,
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("client_id", sa.String(length=63), nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("digest", ID, nullable=False),
        sa.Column("version", sa.String(length=100), nullable=False),
        sa.Column("observed_version", sa.String(length=100), nullable=True),
        sa.Column("release_id", sa.String(length=200), nullable=True),
        sa.Column("unmatched_rules", JSON, nullable=False),
        sa.Column("definitions", JSON, nullable=False),
        sa.Column("last_day", sa.Date(), nullable=False),
        _refers(table, "client_id", "clients.client_id"),
        _refers(table, "project_id", "projects.id"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_process_sets")),
        sa.UniqueConstraint(
            "client_id", "project_id", "digest", name=op.f("uq_process_sets_client_id_project_id_digest")
        ),
    )
    op.create_index(op.f("ix_process_sets_last_day"), table, ["last_day"])


def _create_process_reports() -> None:
    op.create_table(
        "process_reports",
        sa.Column("set_id", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("client_id", sa.String(length=63), nullable=False),
        sa.Column("report_key", ID, nullable=False),
        sa.Column("reported_at", TIME, nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("statuses", sa.Text(), nullable=False),
        *(sa.Column(name, REALS, nullable=True) for name in SAMPLED),
        sa.PrimaryKeyConstraint("day", "client_id", "report_key", name=op.f("pk_process_reports")),
        postgresql_partition_by="RANGE (day)",
    )


def _create_latest_process_reports() -> None:
    op.create_table(
        LATEST,
        sa.Column("project_id", ID, nullable=False),
        sa.Column("client_id", sa.String(length=63), nullable=False),
        sa.Column("set_id", sa.Integer(), nullable=False),
        sa.Column("reported_at", TIME, nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("statuses", sa.Text(), nullable=False),
        *(sa.Column(name, DOUBLES, nullable=True) for name in SAMPLED),
        _refers(LATEST, "project_id", "projects.id"),
        _refers(LATEST, "client_id", "clients.client_id"),
        _refers(LATEST, "set_id", "process_sets.id"),
        sa.PrimaryKeyConstraint("project_id", "client_id", name=op.f(f"pk_{LATEST}")),
    )
    op.create_index(op.f(f"ix_{LATEST}_set_id"), LATEST, ["set_id"])


def _create_container_reports() -> None:
    op.create_table(
        "container_reports",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("client_id", sa.String(length=63), nullable=False),
        sa.Column("report_key", ID, nullable=False),
        *_containers(),
        sa.PrimaryKeyConstraint("day", "client_id", "report_key", name=op.f("pk_container_reports")),
        postgresql_partition_by="RANGE (day)",
    )


def _containers() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("docker_version", sa.String(length=100), nullable=True),
        sa.Column("containers", JSON, nullable=False),
        sa.Column("reported_at", TIME, nullable=False),
        sa.Column("received_at", TIME, nullable=False),
    )


def _old_processes() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("version", sa.String(length=100), nullable=False),
        sa.Column("observed_version", sa.String(length=100), nullable=True),
        sa.Column("release_id", sa.String(length=200), nullable=True),
        sa.Column("processes", JSON, nullable=False),
        sa.Column("unmatched_rules", JSON, nullable=False),
        sa.Column("reported_at", TIME, nullable=False),
        sa.Column("received_at", TIME, nullable=False),
    )


def _create_old_latest_process_reports() -> None:
    op.create_table(
        LATEST,
        sa.Column("client_id", sa.String(length=63), nullable=False),
        *_old_processes(),
        _refers(LATEST, "client_id", "clients.client_id"),
        _refers(LATEST, "project_id", "projects.id"),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{LATEST}")),
        sa.UniqueConstraint("project_id", "client_id", name=op.f(f"uq_{LATEST}_project_id_client_id")),
    )


def _create_old_process_reports() -> None:
    table = "process_reports"
    op.create_table(
        table,
        sa.Column("client_id", sa.String(length=63), nullable=False),
        sa.Column("report_id", sa.String(length=200), nullable=False),
        *_old_processes(),
        _refers(table, "client_id", "clients.client_id"),
        _refers(table, "project_id", "projects.id"),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("client_id", "report_id", name=op.f(f"uq_{table}_client_id_report_id")),
    )
    columns = ["project_id", "client_id", "reported_at"]
    op.create_index(op.f(f"ix_{table}_project_id_client_id_reported_at"), table, columns)
    op.create_index(op.f(f"ix_{table}_received_at"), table, ["received_at"])


def _create_old_container_reports() -> None:
    table = "container_reports"
    op.create_table(
        table,
        sa.Column("client_id", sa.String(length=63), nullable=False),
        sa.Column("report_id", sa.String(length=200), nullable=False),
        *_containers(),
        sa.Column("id", ID, nullable=False),
        _refers(table, "client_id", "clients.client_id"),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("client_id", "report_id", name=op.f(f"uq_{table}_client_id_report_id")),
    )
    op.create_index(op.f(f"ix_{table}_client_id_reported_at"), table, ["client_id", "reported_at"])
    op.create_index(op.f(f"ix_{table}_received_at"), table, ["received_at"])
