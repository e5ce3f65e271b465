"""An engine that answers late, with an error, or breaks off in the middle: what a swap says of it is true."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker_engine import DockerEngine
from tests.engine_between import EngineBetween, HeldRequest, answer_of, stream_of
from tests.integration.agent.container_agent import ContainerAgent
from tests.real_processes import wait_until

PULLING = {"status": "Pulling fs layer", "id": "abc"}
DONE = {"status": "Status: Image is up to date for shop:1.1"}


@pytest.fixture
def between(docker_engine: DockerEngine, tmp_path: Path) -> Iterator[EngineBetween]:
    docker_engine.build("shop:1.0")
    docker_engine.build("shop:1.1")
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


def test_failure_before_the_engine_was_looked_at_claims_nothing(agent, between):
    agent.deploy("e1", "1.0")
    between.decide = lambda line: (
        answer_of({"message": "disk on fire"}, "500 Internal Server Error")
        if "/containers/json" in line
        else None
    )
    failed = agent.deploy("e2", "1.1")
    assert failed["state"] == "failed"
    assert failed["error"] == (
        "cannot list the containers: disk on fire; nothing was changed, and what runs here is not known"
    )
    between.decide = lambda line: answer_of({}, "200 OK") if "/_ping" in line else b""
    late = agent.deploy("e3", "1.1", timeout_s=2)
    assert late["state"] == "timed_out"
    assert late["error"] == (
        "it was not done after 2 s; nothing was changed, and what runs here is not known"
    )
    between.decide = lambda _: None
    assert agent.serving() == ["1.0"]
    assert agent.containers() == {"shop-prod-1": "1.0"}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (stream_of(PULLING, whole=False), "the engine broke off 3 times"),
        (stream_of(PULLING, whole=True), "the engine ended its answer before it was through"),
        (stream_of(whole=True), "the engine ended its answer before it was through"),
        (stream_of(PULLING, {"error": "no space left"}, whole=True), "no space left"),
        (stream_of({"errorDetail": {"message": "no space left"}}, DONE, whole=True), "no space left"),
        (answer_of({"message": "no such thing"}, "404 Not Found"), "no such thing"),
    ],
    ids=["breaks_off", "ends_early", "says_nothing", "error", "error_detail", "refused"],
)
def test_pull_that_is_not_finished_fails_though_an_older_image_is_there(agent, between, answer, said):
    agent.deploy("e1", "1.0")
    between.decide = lambda line: answer if "/images/create" in line else None
    failed = agent.deploy("e2", "1.1", config={"pull": "always"})
    assert (failed["state"], failed["container"]) == ("failed", None)
    assert failed["error"] == f"cannot pull shop:1.1: {said}; shop-prod-1 (1.0) serves as before"
    assert agent.containers() == {"shop-prod-1": "1.0"}
    assert agent.serving() == ["1.0"]


def test_pull_that_breaks_off_once_is_begun_again(agent, between):
    answers = [stream_of(PULLING, whole=False), stream_of(PULLING, DONE, whole=True)]
    between.decide = lambda line: answers.pop(0) if "/images/create" in line else None
    done = agent.deploy("e1", "1.1", config={"pull": "always"})
    assert (done["state"], answers) == ("succeeded", []), done


def test_cancel_is_obeyed_while_the_engine_says_nothing_of_its_pull(agent, between):
    agent.deploy("e1", "1.0")
    held = between.hold(lambda line: "/images/create" in line)
    agent.begin("e2", "1.1", config={"pull": "always"})
    held.wait()
    began = time.monotonic()
    agent.post("/v1/executions/e2/cancel", {})
    cancelled = agent.end_of("e2")
    took_s = time.monotonic() - began
    held.let_through()
    assert cancelled["error"] == "it was cancelled; shop-prod-1 (1.0) serves as before"
    assert took_s < 15


def _held_creation(agent: ContainerAgent, between: EngineBetween) -> HeldRequest:
    """A swap whose request for a container is on its way when the agent is killed."""
    agent.deploy("e1", "1.0")
    held = between.hold(lambda line: "/containers/create" in line)
    agent.begin("e2", "1.1")
    held.wait()
    agent.kill()
    return held


def test_container_that_arrives_after_its_swap_was_put_back_is_taken_away(agent, between):
    held = _held_creation(agent, between)
    (agent.state_dir / "executions" / "e2" / "ended-by").write_text("cancelled\n")
    agent.start()
    agent.post("/v1/executions/e2/cancel", {})
    wait_until(lambda: b'"revert"' in (agent.state_dir / "executions" / "e2" / "swap.json").read_bytes())
    time.sleep(1.5)
    held.let_through()
    ended = agent.end_of("e2")
    assert ended["state"] == "cancelled", ended
    assert ended["error"] == "it was cancelled; shop-prod-1 (1.0) serves as before"
    time.sleep(2)
    assert agent.containers() == {"shop-prod-1": "1.0"}


def test_container_that_arrives_late_is_used_by_the_swap_that_goes_on(agent, between):
    held = _held_creation(agent, between)
    between_names: list[str] = []

    def let_through(line: str) -> None:
        """The late one is made just before the second request for the same name."""
        if "/containers/create" in line:
            between_names.append(line)
            held.let_through()
            wait_until(lambda: "shop-prod-2" in agent.containers())

    between.decide = let_through
    agent.start()
    ended = agent.end_of("e2")
    assert ended["state"] == "succeeded", ended
    assert ended["container"]["container_name"] == "shop-prod-2"
    assert len(between_names) == 1
    assert agent.containers() == {"shop-prod-1": "1.0", "shop-prod-2": "1.1"}
