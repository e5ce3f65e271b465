"""Rows past the ORM, where a statement asks for columns alone, and is asked with every batch of reports."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Executable, Row
from sqlalchemy.orm import Session


def read_rows(
    session: Session, statement: Executable, parameters: Mapping[str, Any]
) -> Sequence[Row[*tuple[Any, ...]]]:
    """The statement's rows, in the session's transaction; what waits in the session is not flushed first."""
    return session.connection().execute(statement, parameters).all()
