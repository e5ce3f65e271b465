"""`python -m db`: bring the database's schema to head, say where it is, take it back."""

import argparse
import sys
from collections.abc import Sequence

from sqlalchemy.exc import DBAPIError

from db import schema
from db.errors import DatabaseError
from db.session import database_url, make_engine


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; answers the exit code."""
    options = _parser().parse_args(arguments)
    try:
        engine = make_engine(database_url())
        try:
            if options.command == "upgrade":
                schema.upgrade(engine, options.revision)
            elif options.command == "downgrade":
                schema.downgrade(engine, options.revision)
            print(schema.current_revision(engine) or "empty")
        finally:
            engine.dispose()
    except DatabaseError as error:
        print(f"python -m db: {error}", file=sys.stderr)
        return 1
    except DBAPIError as error:
        print(f"python -m db: cannot reach the database: {error.orig}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m db",
        description="The schema of Hoist's database. HOIST_DATABASE_URL says which database (default: "
        "SQLite at ~/.hoist/hoist.db). Each command prints the revision that the database is at afterwards.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    upgrade = commands.add_parser("upgrade", help="bring the schema to a revision (default: head)")
    upgrade.add_argument("revision", nargs="?", default="head")
    commands.add_parser("current", help="print the revision that the database is at")
    downgrade = commands.add_parser(
        "downgrade", help="take the schema back; `base` drops every table and its data"
    )
    downgrade.add_argument("revision")
    return parser


if __name__ == "__main__":
    sys.exit(main())
