import stat
import threading
from datetime import timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError, StatementError

from db import schema
from db.errors import PermanentDatabaseError, SchemaNotAtHeadError
from db.models import AuditEntry, Installation, Project, Version
from db.session import Database, make_engine, open_database
from tests.builders import NOW, create_fleet, create_project


def test_written_rows_are_read_again(database: Database):
    with database.write() as session:
        create_fleet(session, {"web-01": "1.4"})
    with database.read() as session:
        installation = session.scalars(select(Installation)).one()
        assert (installation.client_id, installation.installed_at) == ("web-01", NOW)
        assert (
            session.scalars(select(Version).where(Version.version == "1.4")).one().evidence.source
            == "exit_code"
        )


def test_an_error_rolls_everything_back(database: Database):
    def fail() -> None:
        with database.write() as session:
            create_project(session)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with database.read() as session:
        assert session.scalars(select(Project)).all() == []


def test_a_reader_changes_nothing(database: Database):
    with database.read() as session:
        create_project(session)
    with database.read() as session:
        assert session.scalars(select(Project)).all() == []


def test_times_come_back_in_utc_and_naive_ones_are_refused(database: Database):
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=45)))
    with database.write() as session:
        session.add(AuditEntry(at=elsewhere, who="a", action="b", subject="c"))
    with database.read() as session:
        kept = session.scalars(select(AuditEntry)).one().at
        assert kept == NOW
        assert kept.utcoffset() == timedelta(0)
    with pytest.raises(StatementError), database.write() as session:
        session.add(AuditEntry(at=NOW.replace(tzinfo=None), who="a", action="b", subject="c"))


def test_foreign_keys_and_unique_names_hold(database: Database):
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(Version(project_id="018f0000-0000-7000-8000-000000000000", version="1", env={}))
    with database.write() as session:
        create_project(session, "shop")
    with pytest.raises(IntegrityError), database.write() as session:
        create_project(session, "shop")


def test_many_threads_write_at_once(database: Database):
    def write(number: int) -> None:
        for step in range(5):
            with database.write() as session:
                create_project(session, f"p{number}-{step}")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with database.read() as session:
        assert len(session.scalars(select(Project)).all()) == 40


def test_sqlite_is_durable_private_and_lets_readers_go_on(tmp_path: Path):
    database = open_database(f"sqlite:///{tmp_path / 'deep' / 'er' / 'hoist.db'}")
    with database.read() as session:
        settings = {name: session.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous")}
        assert settings == {"journal_mode": "wal", "synchronous": 2}
    with database.write() as session:
        create_project(session)
        with database.read() as reader:
            assert reader.scalars(select(Project)).all() == []
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "deep" / "er").iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert stat.S_IMODE((tmp_path / "deep").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "deep" / "er").stat().st_mode) == 0o700
    database.close()


def test_sqlite_is_brought_to_head_by_whoever_comes_first(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'hoist.db'}"
    errors: list[BaseException] = []

    def open_it() -> None:
        try:
            open_database(url).close()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []


def test_postgresql_that_is_not_at_head_is_refused(postgres_cluster):
    name = postgres_cluster.create_database()
    with pytest.raises(SchemaNotAtHeadError, match=r"python -m db upgrade"):
        open_database(postgres_cluster.url(name))
    engine = make_engine(postgres_cluster.url(name))
    schema.upgrade(engine)
    engine.dispose()
    open_database(postgres_cluster.url(name)).close()
    postgres_cluster.drop_database(name)


def test_a_schema_from_the_future_is_refused(database: Database, database_url: str):
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999_later'"))
    with pytest.raises(PermanentDatabaseError):
        open_database(database_url)


def test_error_does_not_say_what_was_written(database):
    secret = "hunter2 of a script"
    with pytest.raises(IntegrityError) as raised, database.write() as session:
        session.add_all([Project(name="shop", type="script", description=secret) for _ in range(2)])
    assert "hunter2" not in str(raised.value)
