import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, inspect, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from agent.wire.naming import ContainerNaming
from db import schema
from db.__main__ import main
from db.errors import PermanentDatabaseError
from db.history.days import make_days
from db.models import Base, Environment, LatestProcessReport, Project
from db.models.reports import ProcessSet
from db.queries.reports import list_latest_reports
from db.session import Database, make_engine
from tests.builders import NOW, create_environment, create_fleet, create_project

ROOT = Path(__file__).parents[3]
PROJECT = "01900000-0000-7000-8000-000000000001"
KEPT = {"day", "client_id", "report_key", "reported_at", "received_at"}


@pytest.fixture
def engine(empty_database_url: str):
    made = make_engine(empty_database_url)
    yield made
    made.dispose()


def test_up_down_and_up_again(engine: Engine):
    assert schema.current_revision(engine) is None
    schema.upgrade(engine)
    assert schema.current_revision(engine) == schema.head_revision()
    assert set(inspect(engine).get_table_names()) == {*Base.metadata.tables, "alembic_version"}
    schema.downgrade(engine, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    assert schema.current_revision(engine) is None
    schema.upgrade(engine)
    schema.upgrade(engine)
    schema.check_at_head(engine)


def test_migrations_make_what_the_models_say(engine: Engine):
    schema.upgrade(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_rows_stay_when_the_containers_come_and_go(engine: Engine):
    schema.upgrade(engine, "0001_initial")
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO projects (id, name, type, created_at, updated_at) "
                "VALUES (:id, 'shop', 'script', :now, :now)"
            ),
            {"id": PROJECT if engine.dialect.name == "postgresql" else PROJECT.replace("-", ""), "now": NOW},
        )
    schema.upgrade(engine)
    with Session(engine) as session, session.begin():
        create_environment(session, session.get_one(Project, PROJECT))
        create_project(session, "api", type="container", container_naming=ContainerNaming(prefix="api"))
    schema.downgrade(engine, "0001_initial")
    assert not {"container_reports", "latest_container_reports"} & set(inspect(engine).get_table_names())
    schema.upgrade(engine)
    with Session(engine) as session:
        found = session.scalars(select(Project).order_by(Project.name)).all()
        assert [(project.name, project.container_naming) for project in found] == [
            ("api", None),
            ("shop", None),
        ]
        assert session.scalar(select(Environment.project_id)) == PROJECT


def test_newest_reports_are_carried_over_both_ways(engine: Engine):
    schema.upgrade(engine)
    definitions = [{"pid": 7, "name": "shop", "start_time": "2030-01-01T00:00:00Z", "matched_by": "web"}] * 2
    with Session(engine) as session, session.begin():
        project, _ = create_fleet(session, {"web-01": "1.4"})
        said = ProcessSet(
            client_id="web-01",
            project_id=project.id,
            digest=PROJECT,
            version="1.4",
            observed_version="1.4.0",
            release_id="r1",
            unmatched_rules=["http"],
            definitions=definitions,
            last_day=NOW.date(),
        )
        session.add(said)
        session.flush()
        samples = {"cpu_percent": [1.5, None], "memory_mb": [20.25, 3.0], "memory_pct": None}
        when = {"reported_at": NOW, "received_at": NOW}
        session.add(
            LatestProcessReport(
                project_id=project.id, client_id="web-01", set_id=said.id, statuses="SZ", **samples, **when
            )
        )
        before = list_latest_reports(session, project.id)
    schema.downgrade(engine, "0003_control")
    with engine.connect() as connection:
        old = connection.execute(text("SELECT version, observed_version FROM latest_process_reports")).all()
    assert [tuple(row) for row in old] == [("1.4", "1.4.0")]
    schema.upgrade(engine)
    with Session(engine) as session:
        after = list_latest_reports(session, session.scalars(select(Project.id)).one())
    assert before == after
    assert [(one["status"], one["memory_mb"]) for one in after[0].processes] == [
        ("sleeping", 20.25),
        ("zombie", 3.0),
    ]


@pytest.mark.parametrize(
    ("table", "document", "said"),
    [
        ("container_reports", "containers", {}),
        ("pod_reports", "pods", {"selection_key": PROJECT, "truncated": True}),
    ],
)
def test_history_keeps_its_reports_when_their_documents_go_and_come(engine: Engine, table, document, said):
    schema.upgrade(engine, "0014_deployments_under_way")
    make_days(Database(engine), [NOW.date()])
    was = described(engine, table)
    add_report(engine, table, 1, **said, **{document: "[{}]"})
    schema.upgrade(engine)
    add_report(engine, table, 2)
    kept = read_reports(engine, table)
    assert [(set(row), row["client_id"]) for row in kept] == [(KEPT, "web-01")] * 2
    schema.downgrade(engine, "0014_deployments_under_way")
    assert described(engine, table) == was
    back = read_reports(engine, table)
    assert [{name: row[name] for name in KEPT} for row in back] == kept
    assert {str(row[document]) for row in back} == {"[]"}
    schema.upgrade(engine)
    assert read_reports(engine, table) == kept


def described(engine: Engine, table: str) -> dict[str, Any]:
    """What a table is: its columns by name, and its key."""
    columns = inspect(engine).get_columns(table)
    said = [(one["name"], str(one["type"]), one["nullable"], one["default"]) for one in columns]
    return {"columns": sorted(said), "key": inspect(engine).get_pk_constraint(table)}


def add_report(engine: Engine, table: str, number: int, **said: object) -> None:
    values = {"day": NOW.date(), "client_id": "web-01", "reported_at": NOW, "received_at": NOW, **said}
    values["report_key"] = PROJECT[:-1] + str(number)
    with engine.begin() as connection:
        names = ", ".join(values)
        marks = ", ".join(f":{name}" for name in values)
        connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({marks})"), values)


def read_reports(engine: Engine, table: str) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        found = connection.execute(text(f"SELECT * FROM {table} ORDER BY report_key")).mappings()
        return [dict(row) for row in found]


def test_no_two_projects_have_one_prefix(engine: Engine):
    schema.upgrade(engine)
    with Session(engine) as session:
        create_project(session, "shop", container_naming=ContainerNaming(prefix="shop"))
        create_project(session, "plain")
        create_project(session, "plainer")
        with pytest.raises(IntegrityError):
            create_project(session, "store", container_naming=ContainerNaming(prefix="shop", separator="."))


def test_an_unknown_revision_is_refused(engine: Engine):
    with pytest.raises(PermanentDatabaseError, match="cannot migrate"):
        schema.upgrade(engine, "nonsense")


def test_command_line_upgrades_tells_and_downgrades(empty_database_url: str, monkeypatch, capsys):
    monkeypatch.setenv("HOIST_DATABASE_URL", empty_database_url)
    said = []
    for arguments in (["current"], ["upgrade"], ["current"], ["downgrade", "base"]):
        assert main(arguments) == 0
        said.append(capsys.readouterr().out.strip())
    assert said == ["empty", schema.head_revision(), schema.head_revision(), "empty"]
    assert main(["downgrade", "nonsense"]) == 1
    assert "cannot migrate" in capsys.readouterr().err


def test_command_line_has_help_and_names_no_password():
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HOIST_DATABASE_URL": "postgresql+psycopg://u:hunter2@/x?host=/nowhere",
    }
    helped = _run("--help", environment)
    assert helped.returncode == 0
    assert all(word in helped.stdout for word in ("upgrade", "current", "downgrade", "HOIST_DATABASE_URL"))
    failed = _run("current", environment)
    assert failed.returncode == 1
    assert failed.stderr.startswith("python -m db: cannot reach the database")
    assert "hunter2" not in failed.stderr


def _run(argument: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "db", argument]
    return subprocess.run(
        command, check=False, env=environment, capture_output=True, text=True, timeout=60, cwd=ROOT
    )


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_compact_history_needs_no_room_for_what_it_drops(engine: Engine):
    schema.upgrade(engine, "0014_deployments_under_way")
    row = (
        "INSERT INTO container_reports (day, client_id, report_key, containers, reported_at, received_at) "
        "VALUES ('2030-01-01', 'c1', :key, :said, '2030-01-01', '2030-01-01')"
    )
    rows = [{"key": f"{number:032d}", "said": "x" * 20_000} for number in range(200)]
    with engine.begin() as connection:
        connection.execute(text(row), rows)
        before = connection.exec_driver_sql("PRAGMA secure_delete").scalar_one()
    engine.dispose()  # its last connection takes the log along
    log = Path(f"{engine.url.database}-wal")
    assert not log.exists()
    schema.upgrade(engine)
    assert log.stat().st_size < 2_000_000, "what was freed (4 MB) was overwritten"
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA secure_delete").scalar_one() == before
        assert connection.execute(text("SELECT count(*) FROM container_reports")).scalar_one() == 200
