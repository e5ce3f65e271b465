"""Engines and sessions: one way to read, one way to write, on SQLite and PostgreSQL alike."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.string import TextLoader
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from db import schema
from db.errors import TransientDatabaseError
from db.private_files import make_private_directory
from db.settings import database_url, parse_url

__all__ = ["Database", "database_url", "make_engine", "open_database"]

BUSY_TIMEOUT_S = 30
POOL_SIZE = 10
MAX_OVERFLOW = 20


def make_engine(url: str) -> Engine:
    """An engine for the URL. SQLite: WAL, durable commits, foreign keys, 30 s of patience; its file is made 0600."""
    parsed = parse_url(url)
    options: dict[str, Any] = {
        "pool_size": POOL_SIZE,
        "max_overflow": MAX_OVERFLOW,
        "pool_timeout": BUSY_TIMEOUT_S,
        "pool_use_lifo": True,  # the connection that was used last is the one that has everything prepared
        "hide_parameters": True,  # an error's text is logged: scripts and environments are no business of a log
    }
    if parsed.get_backend_name() == "sqlite":
        _make_file(Path(parsed.database or ""))
        engine = create_engine(parsed, **options)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    engine = create_engine(parsed, pool_pre_ping=True, connect_args={"connect_timeout": 10}, **options)
    event.listen(engine, "connect", _set_up_postgresql)
    return engine


def _make_file(path: Path) -> None:
    make_private_directory(path.parent)
    if not path.exists():
        path.touch(mode=0o600)


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT_S * 1000}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _set_up_postgresql(connection: psycopg.Connection, _record: object) -> None:
    connection.adapters.register_loader(
        "uuid", TextLoader
    )  # ids are text here: a UUID made of each would be unmade


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("hoist_writes", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


class Database:
    """One database: `with database.read() as session`, `with database.write() as session`. Safe to share by threads."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._reading = engine.execution_options(hoist_writes=False)

    @property
    def is_sqlite(self) -> bool:
        """Whether it is SQLite: one writer at a time."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees the database and changes nothing."""
        with _wrapped_errors("read the database"), Session(self._reading, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session in one transaction: committed at the end, rolled back on any error."""
        with _wrapped_errors("write to the database"):
            with Session(self.engine, expire_on_commit=False) as session, session.begin():
                yield session

    def close(self) -> None:
        """Close its connections."""
        self.engine.dispose()


@contextmanager
def _wrapped_errors(what: str) -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise TransientDatabaseError(f"cannot {what}: {error.orig}") from error
    except PoolTimeoutError as error:
        raise TransientDatabaseError(f"cannot {what}: all connections are busy") from error


def open_database(url: str | None = None) -> Database:
    """The database at `url` (default: the settings'), at head.

    SQLite is brought to head under a file lock. Raises SchemaNotAtHeadError where PostgreSQL is not at head, and
    TransientDatabaseError where it can't be reached.
    """
    engine = make_engine(url or database_url())
    try:
        with _wrapped_errors("open the database"):
            if engine.dialect.name == "sqlite":
                schema.upgrade(engine)
            schema.check_at_head(engine)
    except BaseException:
        engine.dispose()
        raise
    return Database(engine)
