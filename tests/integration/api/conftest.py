"""The release API over real HTTP, on both databases."""

from collections.abc import Iterator

import httpx
import pytest

from db.session import Database
from tests.served_api import ServedApi, serve_api


@pytest.fixture
def served(database: Database) -> Iterator[ServedApi]:
    """The API on a database of its own; the test runs twice."""
    with serve_api(database) as api:
        yield api


@pytest.fixture
def operator(served: ServedApi) -> httpx.Client:
    """An operator's client."""
    return served.operator
