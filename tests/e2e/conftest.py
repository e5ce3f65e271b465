"""One fleet for all end-to-end tests: Prefect's server, the release API, a worker and five agents, each a process."""

import pytest

from deployments.demo.fleet import Fleet
from deployments.demo.leftovers import stop_applications
from tests.prefect_server import prefect_server  # noqa: F401 - a fixture

SHORT = {
    "HOIST_RETRY_WINDOW_S": "3",
    "HOIST_LEASE_TTL_S": "6",
    "HOIST_LEASE_RENEW_S": "1.5",
}
"""Times that a test would otherwise sit out."""

CLIENTS = ("web-1", "web-2", "web-3", "web-4")


@pytest.fixture(scope="session")
def fleet(tmp_path_factory, prefect_server, session_docker_engine):  # noqa: F811
    """The fleet on SQLite; each test registers a project of its own on it."""
    root = tmp_path_factory.mktemp("fleet").resolve()
    fleet = Fleet(root, CLIENTS, environ=SHORT, prefect=prefect_server)
    for agent in fleet.agents.values():
        agent.environ["HOIST_AGENT_DOCKER_HOST"] = session_docker_engine.url
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.stop()
        stop_applications(root, patience_s=1)
