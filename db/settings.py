"""Where the database and Hoist's own files are: read from the environment, once, by whoever starts."""

import os
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from db.errors import PermanentDatabaseError


def hoist_home(environ: Mapping[str, str] = os.environ) -> Path:
    """`~/.hoist`, where the defaults live: the SQLite file, the secret key, the operator's token."""
    home = environ.get("HOME")
    return (Path(home) if home else Path.home()) / ".hoist"


def database_url(environ: Mapping[str, str] = os.environ) -> str:
    """`HOIST_DATABASE_URL`, or else SQLite at `~/.hoist/hoist.db`."""
    return environ.get("HOIST_DATABASE_URL") or f"sqlite:///{hoist_home(environ) / 'hoist.db'}"


def secret_key_file(environ: Mapping[str, str] = os.environ) -> Path:
    """`HOIST_SECRET_KEY_FILE`, or else `~/.hoist/secret.key`."""
    return Path(environ.get("HOIST_SECRET_KEY_FILE") or hoist_home(environ) / "secret.key")


def parse_url(url: str) -> URL:
    """The URL, checked: SQLite in a file, or PostgreSQL through psycopg. Never echoes it: it may hold a password."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise PermanentDatabaseError("cannot use HOIST_DATABASE_URL: it is not a URL") from None
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        if not parsed.database or parsed.database.startswith((":memory:", "file:")):
            raise PermanentDatabaseError(
                "cannot use HOIST_DATABASE_URL: SQLite wants a file (sqlite:////path)"
            )
        return parsed
    if parsed.drivername in ("postgresql", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    raise PermanentDatabaseError(
        f"cannot use HOIST_DATABASE_URL: {parsed.drivername!r} is neither sqlite nor postgresql+psycopg"
    )
