"""A Prefect server for the session: a real process on a free port, with its own PREFECT_HOME."""

import pytest

from deployments.demo.prefect_server import PrefectServer


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory):
    """Started once; tests that stop it start it again."""
    server = PrefectServer(tmp_path_factory.mktemp("prefect-server")).start()
    try:
        server.wait_until_up()
        yield server
    finally:
        server.stop()
