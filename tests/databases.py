"""A migrated database for each test, on SQLite and on PostgreSQL: copied from a template, gone afterwards."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from db import schema
from db.session import Database, make_engine, open_database
from tests.postgres import PostgresCluster, find_postgres

BACKENDS = ("sqlite", "postgresql")
TEMPLATE = "hoist_template"


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[PostgresCluster]:
    """One throw-away cluster for the session, with the migrated template in it."""
    programs = find_postgres()
    if programs is None:
        reason = "PostgreSQL is missing: bash deployments/install-test-needs.sh"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    cluster = PostgresCluster(programs)
    try:
        cluster.start()
        cluster.execute(f"CREATE DATABASE {TEMPLATE}")
        _migrate(cluster.url(TEMPLATE))
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    _migrate(f"sqlite:///{path}")
    return path


def _migrate(url: str) -> None:
    engine = make_engine(url)
    schema.upgrade(engine)
    engine.dispose()


@pytest.fixture
def empty_database_url(request: pytest.FixtureRequest, backend: str, tmp_path: Path) -> Iterator[str]:
    """The address of a database with nothing in it."""
    if backend == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
    name = cluster.create_database()
    yield cluster.url(name)
    cluster.drop_database(name)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Each of the two databases."""
    return str(request.param)


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The address of a migrated SQLite database of this test's own."""
    path = tmp_path / "hoist.db"
    shutil.copyfile(sqlite_template, path)
    path.chmod(0o600)
    return f"sqlite:///{path}"


@pytest.fixture
def postgresql_url(postgres_cluster: PostgresCluster) -> Iterator[str]:
    """The address of a migrated PostgreSQL database of this test's own."""
    name = postgres_cluster.create_database(TEMPLATE)
    yield postgres_cluster.url(name)
    postgres_cluster.drop_database(name)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, backend: str) -> str:
    """The address of a migrated database, on each of the two: the test runs twice."""
    return str(request.getfixturevalue(f"{backend}_url"))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database, open, on each of the two: the test runs twice."""
    opened = open_database(database_url)
    yield opened
    opened.close()
