"""The demo's container project finds its engine, or is left out and says why: never is the rest of the demo held up."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.demo.containers import NAME, find_engine, leave_engine
from tests.docker_engine import DockerEngine
from tests.engine_between import EngineBetween, answer_of

LEFT_OUT = "the container project is left out, the rest goes on: "


@pytest.fixture
def answering(monkeypatch) -> Iterator[EngineBetween]:
    """An engine that answers its ping, and nothing else unless it is told to."""
    folder = Path(tempfile.mkdtemp(prefix="hoist-docker-"))  # short: a socket's path has 107 characters
    between = EngineBetween(folder / "docker.sock")
    between.decide = lambda line: ping(line) or b""
    monkeypatch.setenv("DOCKER_HOST", between.url)
    yield between
    between.close()
    shutil.rmtree(folder, ignore_errors=True)


def ping(line: str) -> bytes | None:
    if "/_ping" in line:
        return answer_of("OK")
    return answer_of({"ApiVersion": "1.41"}) if "/version" in line else None


def test_without_an_engine_it_says_how_to_include_it(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    said: list[str] = []
    assert find_engine(said.append) is None
    assert said == [
        f"{LEFT_OUT}no Docker engine answers at unix://{tmp_path}/none.sock: start one (dockerd) to see it"
    ]


def test_without_a_static_busybox_it_says_how_to_include_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    said: list[str] = []
    assert find_engine(said.append) is None
    assert said == [f"{LEFT_OUT}its images are made of a static busybox: apt-get install busybox-static"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (answer_of({"message": "disk on fire"}, "500 Internal Server Error"), "disk on fire"),
        (b"", "Connection aborted"),
    ],
    ids=["refuses", "breaks off"],
)
def test_engine_that_answers_its_ping_alone_is_left_out(answering, answer, why):
    said: list[str] = []
    answering.decide = lambda line: ping(line) or answer
    assert find_engine(said.append) is None
    [line] = said
    assert line.startswith(f"{LEFT_OUT}the Docker engine cannot remove the demo's containers: ")
    assert why in line


def test_engine_is_found_without_an_earlier_demo_s_containers(docker_engine: DockerEngine, monkeypatch):
    """Anybody else's stay: of another name, or without the label."""
    monkeypatch.setenv("DOCKER_HOST", docker_engine.url)
    docker_engine.build("app:plain", health=False)
    label = {"hoist.client": "web-1"}
    for name, labels in ((f"{NAME}-prod-1", label), (f"{NAME}-prod-2", {}), ("shop-1", label)):
        docker_engine.api.create_container("app:plain", name=name, labels=labels)
    said: list[str] = []
    engine = find_engine(said.append)
    assert engine is not None
    assert said == []
    assert {one["Names"][0] for one in docker_engine.containers()} == {f"/{NAME}-prod-2", "/shop-1"}


def test_containers_that_the_engine_does_not_remove_at_the_end_are_told(answering):
    said: list[str] = []
    answering.decide = lambda line: ping(line) or answer_of([])
    engine = find_engine(said.append)
    assert engine is not None
    answering.decide = lambda _: answer_of({"message": "disk on fire"}, "500 Internal Server Error")
    leave_engine(engine, said.append)
    [line] = said
    assert line.startswith(
        "the demo's containers are left: the Docker engine cannot remove the demo's containers: "
    )
