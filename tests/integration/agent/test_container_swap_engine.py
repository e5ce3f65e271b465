"""The engine itself is stopped, or killed, in the middle of a swap, and comes back: one container serves at the end."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docker_engine import DockerEngine
from tests.integration.agent.container_agent import ContainerAgent, free_port, wait_for_phase
from tests.real_processes import wait_until

PHASES = ("create", "start", "wait", "switch", "stop_previous")
GAP_PHASES = ("stop_first", "start", "wait")


@pytest.fixture
def agent(tmp_path: Path, docker_engine: DockerEngine) -> Iterator[ContainerAgent]:
    for version in ("1.0", "1.1"):
        docker_engine.build(f"shop:{version}")
    docker_engine.build("shop:sick", UNHEALTHY="1")
    process = ContainerAgent(tmp_path / "one", docker_engine)
    try:
        yield process.start()
    finally:
        process.close()


def _interrupt(engine: DockerEngine, how: str) -> None:
    """End the engine and start it again."""
    if how == "killed":
        engine.kill()
    else:
        engine.stop()
    engine.start()


def _one_serves(agent: ContainerAgent, ended: dict[str, Any]) -> None:
    """The new one where it succeeded, else the previous one; nobody else runs or has a name of the project."""
    expected = "1.1" if ended["state"] == "succeeded" else "1.0"
    if expected == "1.0":
        assert ended["state"] == "failed"
        assert "shop-prod-1 (1.0) serves" in ended["error"]
    wait_until(lambda: list(agent.containers("running").values()) == [expected])
    wait_until(lambda: _answers(agent, expected))
    assert set(agent.containers()) <= {"shop-prod-1", "shop-prod-2"}
    assert len(agent.containers()) == (2 if expected == "1.1" else 1), agent.containers()
    names = {one["Names"][0].removeprefix("/") for one in agent.engine.containers()}
    assert names == set(agent.containers())


def _answers(agent: ContainerAgent, version: str) -> bool:
    try:
        return agent.serving() == [version]
    except OSError:
        return False


@pytest.mark.parametrize("how", ["stopped", "killed"])
@pytest.mark.parametrize("phase", PHASES)
def test_swap_goes_on_when_the_engine_is_back(agent, docker_engine, phase, how):
    agent.deploy("e1", "1.0")
    agent.begin("e2", "1.1", timeout_s=120)
    wait_for_phase(agent, "e2", phase)
    _interrupt(docker_engine, how)
    _one_serves(agent, agent.end_of("e2"))


@pytest.mark.parametrize("how", ["stopped", "killed"])
@pytest.mark.parametrize("phase", GAP_PHASES)
def test_swap_of_one_port_goes_on_when_the_engine_is_back(agent, docker_engine, phase, how):
    config = {"ports": [{"container_port": 8080, "host_port": free_port(), "host_ip": "127.0.0.1"}]}
    agent.deploy("e1", "1.0", config=config)
    agent.begin("e2", "1.1", config=config, timeout_s=120)
    wait_for_phase(agent, "e2", phase)
    _interrupt(docker_engine, how)
    ended = agent.end_of("e2")
    if how == "killed" and "port is already allocated" in str(ended["error"]):
        _engine_forgets_the_port(agent, docker_engine, ended["error"])
    else:
        _one_serves(agent, ended)


def _engine_forgets_the_port(agent: ContainerAgent, engine: DockerEngine, error: str) -> None:
    """A fault of the engine's: killed as it publishes a port, it may keep it for nobody. What the agent advises helps."""
    assert "NOTHING SERVES: shop-prod-1 could not be started again" in error
    assert error.endswith(
        "restart the engine (it holds a port for nobody), then run: docker start shop-prod-1"
    )
    _interrupt(engine, "stopped")
    engine.api.start("shop-prod-1")
    wait_until(lambda: _answers(agent, "1.0"))


@pytest.mark.parametrize("how", ["stopped", "killed"])
@pytest.mark.parametrize("policy", ["no", "unless-stopped"])
def test_failing_swap_leaves_the_previous_one_serving_when_the_engine_is_back(
    agent, docker_engine, how, policy
):
    config = {"restart_policy": {"name": policy}}
    agent.deploy("e1", "1.0", config=config)
    agent.begin("e2", "sick", config=config, timeout_s=120)
    wait_for_phase(agent, "e2", "wait")
    _interrupt(docker_engine, how)
    ended = agent.end_of("e2")
    assert ended["state"] == "failed", ended
    _one_serves(agent, ended)


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_engine_and_agent_go_down_together(agent, docker_engine, how):
    agent.deploy("e1", "1.0")
    agent.begin("e2", "1.1", timeout_s=120)
    wait_for_phase(agent, "e2", "wait")
    agent.kill()
    _interrupt(docker_engine, how)
    agent.start()
    _one_serves(agent, agent.end_of("e2"))


def test_engine_that_stays_away_is_a_clear_failure(agent, docker_engine):
    agent.deploy("e1", "1.0")
    agent.begin("e2", "1.1", timeout_s=5)
    wait_for_phase(agent, "e2", "wait")
    docker_engine.stop()
    try:
        wait_until(lambda: "trying again" in agent.get("/v1/executions/e2")["output_tail"])
        assert agent.get("/v1/executions/e2")["state"] == "running"
    finally:
        docker_engine.start()
    ended = agent.end_of("e2")
    assert ended["state"] in ("timed_out", "succeeded"), ended
