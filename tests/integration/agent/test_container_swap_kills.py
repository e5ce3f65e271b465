"""The agent is killed with SIGKILL between every two steps of a swap: after its restart the swap ends as if nothing had been."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.demo.environment import free_port
from tests.docker_engine import DockerEngine
from tests.engine_between import EngineBetween
from tests.integration.agent.container_agent import ContainerAgent, ask_port, phase_of

NETWORK = "kills-net"
CALLS = {
    "pull": r"GET \S+/images/shop:\S+/json ",
    "create": r"POST \S+/containers/create\?",
    "stop_first": r"POST \S+/stop\?",
    "start": r"POST \S+/start ",
    "wait": r"GET \S+/containers/\w+/json ",
    "switch": rf"POST \S+/networks/{NETWORK}/disconnect ",
    "stop_previous": r"POST \S+/stop\?",
    "prune": r"DELETE \S+/containers/",
    "revert": r"POST \S+/stop\?",
}
"""A call that the swap makes in each phase; tests/integration/agent/test_container_swap_errors.py has every one."""
PHASES = ("pull", "create", "start", "wait", "switch", "stop_previous", "prune")
GAP_PHASES = ("create", "stop_first", "start", "wait", "switch", "prune")
FAILING = ("start", "wait", "revert")


@pytest.fixture(scope="module")
def engine(session_docker_engine: DockerEngine) -> Iterator[DockerEngine]:
    """With the images, and a network for the alias: without one there is nothing to ask of the engine at the switch."""
    for version in ("0.9", "1.0", "1.1"):
        session_docker_engine.build(f"shop:{version}")
    session_docker_engine.build("shop:sick", UNHEALTHY="1")
    made = session_docker_engine.api.create_network(NETWORK, check_duplicate=True)
    yield session_docker_engine
    session_docker_engine.remove_all()
    session_docker_engine.api.remove_network(made["Id"])


@pytest.fixture
def between(engine: DockerEngine, docker_engine: DockerEngine, tmp_path: Path) -> Iterator[EngineBetween]:
    made = EngineBetween(docker_engine.folder / f"{tmp_path.name[-20:]}.sock", docker_engine.socket)
    yield made
    made.close()


@pytest.fixture
def agent(between: EngineBetween, docker_engine: DockerEngine, tmp_path: Path) -> Iterator[ContainerAgent]:
    process = ContainerAgent(tmp_path / "one", docker_engine, HOIST_AGENT_DOCKER_HOST=between.url)
    try:
        yield process.start()
    finally:
        process.close()


def config_of(port: int | None = None) -> dict:
    """With an alias; on a port of the host, which two can't have at once."""
    ports = [{"container_port": 8080, "host_port": port, "host_ip": "127.0.0.1"}]
    return {"networks": [{"name": NETWORK, "aliases": ["shop"]}], "ports": ports}


def prepare(agent: ContainerAgent, config: dict, *versions: str) -> None:
    """What was deployed before."""
    for number, version in enumerate(versions):
        done = agent.deploy(f"e{number}", version, config=config)
        assert done["state"] == "succeeded", done


def kill_in(agent: ContainerAgent, between: EngineBetween, phase: str, version: str, config: dict) -> None:
    """Deploy, SIGKILL the agent while the engine is asked for what `phase` does, and start it again.

    The engine gets the request when nobody waits for its answer any more.
    """
    held = between.hold(lambda line: phase_of(agent, "e2") == phase and bool(re.match(CALLS[phase], line)))
    agent.begin("e2", version, config=config)
    held.wait()
    agent.kill()
    killed_in = phase_of(agent, "e2")
    held.let_through()
    agent.start()
    assert killed_in == phase


def only_container(agent: ContainerAgent, version: str, kept: str | None) -> None:
    """One container serves, at most the kept one is beside it, and nobody else has a name of the project."""
    assert list(agent.containers("running").values()) == [version]
    assert sorted(agent.containers().values()) == sorted([version, *([kept] if kept else [])])
    names = {one["Names"][0].removeprefix("/") for one in agent.engine.containers()}
    assert names == set(agent.containers())


@pytest.mark.parametrize("phase", PHASES)
def test_killed_swap_ends_with_the_new_one_alone(agent, between, phase):
    prepare(agent, config_of(), "0.9", "1.0")
    kill_in(agent, between, phase, "1.1", config_of())
    ended = agent.end_of("e2")
    assert (ended["state"], ended["error"]) == ("succeeded", None), ended
    only_container(agent, "1.1", "1.0")
    assert agent.serving() == ["1.1"]


@pytest.mark.parametrize("phase", GAP_PHASES)
def test_killed_swap_of_one_port_ends_with_the_new_one_alone(agent, between, phase):
    port = free_port()
    prepare(agent, config_of(port), "0.9", "1.0")
    kill_in(agent, between, phase, "1.1", config_of(port))
    ended = agent.end_of("e2")
    assert ended["state"] == "succeeded", ended
    assert ended["container"]["gap_ms"] > 0
    only_container(agent, "1.1", "1.0")
    assert ask_port(port) == "1.1"


@pytest.mark.parametrize("same_port", [False, True], ids=["no_gap", "gap"])
@pytest.mark.parametrize("phase", FAILING)
def test_killed_swap_that_fails_ends_with_the_previous_one_alone(agent, between, phase, same_port):
    config = config_of(free_port() if same_port else None)
    prepare(agent, config, "1.0")
    kill_in(agent, between, phase, "sick", config)
    ended = agent.end_of("e2")
    assert ended["state"] == "failed", ended
    assert "shop-prod-1 (1.0) serves" in ended["error"]
    only_container(agent, "1.0", None)
    assert agent.serving() == ["1.0"]


def test_swap_survives_ten_kills_in_a_row(agent):
    agent.deploy("e1", "1.0")
    agent.begin("e2", "1.1")
    for _ in range(10):
        agent.kill()
        agent.start()
    ended = agent.end_of("e2")
    assert ended["state"] == "succeeded", ended
    only_container(agent, "1.1", "1.0")


def test_stopped_agent_leaves_the_swap_to_its_next_start(agent):
    agent.deploy("e1", "1.0")
    agent.begin("e2", "1.1")
    assert agent.stop() == 0
    agent.start()
    assert agent.end_of("e2")["state"] == "succeeded"
    only_container(agent, "1.1", "1.0")
