"""One fleet for all end-to-end tests: Prefect's server, the release API, a worker and five agents, each a process."""

import pytest

from deployments.demo.fleet import Fleet
from tests.e2e.fleets import SHORT, running
from tests.prefect_server import prefect_server  # noqa: F401 - a fixture

CLIENTS = ("web-1", "web-2", "web-3", "web-4")


@pytest.fixture(scope="session")
def fleet(tmp_path_factory, prefect_server, session_docker_engine):  # noqa: F811
    """The fleet on SQLite; each test registers a project of its own on it."""
    root = tmp_path_factory.mktemp("fleet").resolve()
    fleet = Fleet(root, CLIENTS, environ=SHORT, prefect=prefect_server)
    for agent in fleet.agents.values():
        agent.environ["HOIST_AGENT_DOCKER_HOST"] = session_docker_engine.url
    with running(fleet):
        yield fleet
