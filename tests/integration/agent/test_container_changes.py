"""A container begins or ends while a real engine is asked about it: what is told of it belongs together."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.containers.collector import ContainerCollector
from agent.containers.engine import Engine
from tests.docker_engine import DockerEngine
from tests.engine_between import EngineBetween


@pytest.fixture
def between(docker_engine: DockerEngine) -> Iterator[EngineBetween]:
    folder = Path(tempfile.mkdtemp(prefix="hoist-between-"))
    made = EngineBetween(folder / "docker.sock", docker_engine.socket)
    yield made
    made.close()
    shutil.rmtree(folder)


@pytest.fixture
def container(docker_engine: DockerEngine) -> str:
    """One that has run before."""
    docker_engine.build("app:plain", health=False)
    made = str(docker_engine.api.create_container("app:plain", name="app-1")["Id"])
    docker_engine.api.start(made)
    docker_engine.api.kill(made)
    return made


@pytest.mark.parametrize("state", ["running", "exited"])
def test_state_and_start_are_those_of_one_run_though_the_engines_list_was_older(
    docker_engine, between, container, state
):
    engine, asked = docker_engine.api, []
    if state == "exited":
        engine.start(container)

    def change(line: str) -> None:
        if f"/containers/{container}/json" in line and not asked:
            asked.append(line)
            (engine.start if state == "running" else engine.kill)(container)

    between.decide = change
    [found] = ContainerCollector(Engine(between.url)).collect().containers
    assert asked, "it was not inspected"
    assert found.state == state
    assert engine.inspect_container(container)["State"]["StartedAt"][:19] == f"{found.started_at:%FT%T}"
    assert (found.exit_code is None, found.memory_usage is None) == (state == "running", state == "exited")
