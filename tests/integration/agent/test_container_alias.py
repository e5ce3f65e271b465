"""A swap that needs no gap: who polls the application through a network alias sees no failed request."""

from pathlib import Path

import pytest

from tests.alias_poller import AliasPoller
from tests.integration.agent.container_agent import ContainerAgent
from tests.real_processes import wait_until


@pytest.fixture
def agent(tmp_path: Path, docker_engine):
    for version in ("1.0", "1.1"):
        docker_engine.build(f"shop:{version}")
    process = ContainerAgent(tmp_path / "one", docker_engine)
    try:
        yield process.start()
    finally:
        process.close()


@pytest.fixture
def network(docker_engine):
    name = "shop-net"
    made = docker_engine.api.create_network(name, check_duplicate=True)
    yield name
    docker_engine.remove_all()
    docker_engine.api.remove_network(made["Id"])


def test_client_of_an_alias_sees_no_failed_request(agent, network, docker_engine, tmp_path):
    config = {"networks": [{"name": network, "aliases": ["shop"]}]}
    assert agent.deploy("e1", "1.0", config=config)["state"] == "succeeded"
    poller = AliasPoller(docker_engine, network, "shop:1.0", tmp_path / "out")
    wait_until(lambda: poller.answers("1.0", 200))
    done = agent.deploy("e2", "1.1", config=config)
    assert (done["state"], done["container"]["gap_ms"]) == ("succeeded", 0)
    wait_until(lambda: poller.answers("1.1", 200))
    failed = agent.deploy("e3", "1.0", config={**config, "env": {"UNHEALTHY": "1"}})
    assert failed["state"] == "failed"
    said = poller.end()
    assert said["failed"] == []
    assert set(said["seen"]) == {"1.0", "1.1"}, said["seen"]
    aliases = docker_engine.api.inspect_container("shop-prod-2")["NetworkSettings"]["Networks"][network]
    assert "shop" in aliases["Aliases"]
