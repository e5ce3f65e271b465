"""The schema's history: which revision a database is at, and how it gets to another one (Alembic, no ini file)."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, text

from db.errors import PermanentDatabaseError, SchemaNotAtHeadError

MIGRATIONS = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 0x686F697374  # "hoist": who migrates a PostgreSQL database holds it


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def head_revision() -> str:
    """The revision that this code needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def current_revision(engine: Engine) -> str | None:
    """The revision that the database is at; None for an empty one."""
    with engine.connect().execution_options(hoist_writes=False) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def check_at_head(engine: Engine) -> None:
    """Raises SchemaNotAtHeadError unless the database is at this code's revision."""
    current, head = current_revision(engine), head_revision()
    if current != head:
        raise SchemaNotAtHeadError(
            f"cannot use the database: its schema is at {current or 'nothing'}, this code needs {head}: "
            "run `python -m db upgrade`"
        )


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the database to a revision, in one transaction; others that want the same wait."""
    with _alone(engine):
        if revision == "head" and current_revision(engine) == head_revision():
            return
        with _migrating(engine) as connection:
            command.upgrade(_config(connection), revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Take the database back to a revision (`base`: to nothing)."""
    with _alone(engine), _migrating(engine) as connection:
        command.downgrade(_config(connection), revision)


@contextmanager
def _migrating(engine: Engine) -> Iterator[Connection]:
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            yield connection
    except CommandError as error:
        raise PermanentDatabaseError(f"cannot migrate the database: {error}") from error


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    if engine.dialect.name != "sqlite":
        yield
        return
    path = Path(f"{engine.url.database}.lock")
    path.touch(mode=0o600)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
