"""The agent is killed with SIGKILL between every two steps of a swap: after its restart the swap ends as if nothing had been."""

from pathlib import Path

import pytest

from tests.integration.agent.container_agent import (
    ContainerAgent,
    ask_port,
    free_port,
    phase_of,
    wait_for_phase,
)

PHASES = ("pull", "create", "start", "wait", "switch", "stop_previous", "prune")
GAP_PHASES = ("create", "stop_first", "start", "wait", "switch", "prune")
LONG_PHASES = ("wait", "revert")
"""The others may be over before the kill comes; tests/integration/agent/test_container_swap_errors.py has every call."""
FAILING = ("start", "wait", "revert")


@pytest.fixture(scope="module")
def images(session_docker_engine):
    for version in ("1.0", "1.1"):
        session_docker_engine.build(f"shop:{version}")
    session_docker_engine.build("shop:sick", UNHEALTHY="1")


@pytest.fixture
def agent(tmp_path: Path, docker_engine, images):
    process = ContainerAgent(tmp_path / "one", docker_engine)
    try:
        yield process.start()
    finally:
        process.close()


def kill_at(agent: ContainerAgent, execution_id: str, phase: str) -> str:
    """SIGKILL the agent once the swap has come to `phase`, or is through; the phase that it was killed in; start it again."""
    wait_for_phase(agent, execution_id, phase)
    agent.kill()
    killed_in = str(phase_of(agent, execution_id))
    agent.start()
    if phase in LONG_PHASES:
        assert killed_in == phase, "it was killed too late to show anything"
    return killed_in


def only_container(agent: ContainerAgent, version: str, kept: str | None) -> None:
    """One container serves, at most the kept one is beside it, and nobody else has a name of the project."""
    assert list(agent.containers("running").values()) == [version]
    assert sorted(agent.containers().values()) == sorted([version, *([kept] if kept else [])])
    names = {one["Names"][0].removeprefix("/") for one in agent.engine.containers()}
    assert names == set(agent.containers())


@pytest.mark.parametrize("phase", PHASES)
def test_killed_swap_ends_with_the_new_one_alone(agent, phase):
    agent.deploy("e1", "1.0")
    agent.begin("e2", "1.1")
    kill_at(agent, "e2", phase)
    ended = agent.end_of("e2")
    assert (ended["state"], ended["error"]) == ("succeeded", None), ended
    only_container(agent, "1.1", "1.0")
    assert agent.serving() == ["1.1"]


@pytest.mark.parametrize("phase", GAP_PHASES)
def test_killed_swap_of_one_port_ends_with_the_new_one_alone(agent, phase):
    port = free_port()
    config = {"ports": [{"container_port": 8080, "host_port": port, "host_ip": "127.0.0.1"}]}
    agent.deploy("e1", "1.0", config=config)
    agent.begin("e2", "1.1", config=config)
    kill_at(agent, "e2", phase)
    ended = agent.end_of("e2")
    assert ended["state"] == "succeeded", ended
    assert ended["container"]["gap_ms"] > 0
    only_container(agent, "1.1", "1.0")
    assert ask_port(port) == "1.1"


@pytest.mark.parametrize("same_port", [False, True], ids=["no_gap", "gap"])
@pytest.mark.parametrize("phase", FAILING)
def test_killed_swap_that_fails_ends_with_the_previous_one_alone(agent, phase, same_port):
    port = free_port()
    config = {
        "ports": [{"container_port": 8080, "host_port": port if same_port else None, "host_ip": "127.0.0.1"}]
    }
    agent.deploy("e1", "1.0", config=config)
    agent.begin("e2", "sick", config=config)
    kill_at(agent, "e2", phase)
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
