"""Images come from a registry that wants credentials: a real one of the tests' own, and a real engine that pulls."""

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docker_engine import DockerEngine
from tests.integration.agent.container_agent import ContainerAgent
from tests.oci_registry import OciRegistry
from tests.real_processes import wait_until
from tests.report_receiver import ReleaseApi, api

__all__ = ["api"]

USER, PASSWORD = "robot-7f3a", "hunter2-9c41-secret"
RIGHT = {"username": USER, "password": PASSWORD}
SECRETS = [
    PASSWORD.encode(),
    base64.b64encode(PASSWORD.encode()).rstrip(b"="),
    base64.b64encode(f"{USER}:{PASSWORD}".encode()),
]


@pytest.fixture
def registry(docker_engine: DockerEngine) -> Iterator[OciRegistry]:
    docker_engine.build("shop:1.0")
    made = OciRegistry(USER, PASSWORD)
    yield made
    made.close()
    docker_engine.remove_all()
    for image in docker_engine.api.images():
        for tag in image["RepoTags"] or ():
            if tag.startswith("127.0.0.1:"):
                docker_engine.api.remove_image(tag, force=True)


@pytest.fixture
def agent(docker_engine: DockerEngine, tmp_path: Path, api: ReleaseApi) -> Iterator[ContainerAgent]:
    process = ContainerAgent(tmp_path / "one", docker_engine, HOIST_AGENT_API_URL=api.url)
    try:
        yield process.start()
    finally:
        process.close()


def _from(
    registry: OciRegistry, tag: str, auth: dict[str, str] | None, pull: str = "always"
) -> dict[str, Any]:
    return {"config": {"image": registry.image(tag), "pull": pull}, "registry_auth": auth}


def _no_secret_is_left(agent: ContainerAgent, *said: Any) -> None:
    kept = [path.read_bytes() for path in agent.folder.rglob("*") if path.is_file()]
    assert any(b"shop-prod" in content for content in kept)
    for secret in SECRETS:
        assert not any(secret in content for content in kept)
        assert not any(secret in repr(one).encode() for one in said)


@pytest.mark.parametrize("pull", ["always", "if_not_present"])
def test_image_is_pulled_with_the_right_credentials(agent, registry, pull):
    image_id = registry.add("1.1", "1.1")
    agent.deploy("e1", "1.0")
    done = agent.deploy("e2", "1.1", **_from(registry, "1.1", RIGHT, pull))
    assert (done["state"], done["container"]["image_id"]) == ("succeeded", image_id), done
    assert agent.serving() == ["1.1"]
    assert f"pulling {registry.image('1.1')}" in done["output_tail"]


def test_credentials_are_kept_nowhere(agent, registry, api: ReleaseApi):
    registry.add("1.1", "1.1")
    registry.blobs = "dribble"
    agent.begin("e1", "1.1", **_from(registry, "1.1", RIGHT))
    wait_until(lambda: registry.sending)
    holding = {
        path.name for path in agent.folder.rglob("*") if path.is_file() and SECRETS[0] in path.read_bytes()
    }
    assert holding == {"request.json"}  # to go on from, should the agent die now
    request = agent.state_dir / "executions" / "e1" / "request.json"
    assert (request.stat().st_mode & 0o777, request.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    agent.kill()
    registry.blobs = "whole"
    agent.start()
    done = agent.end_of("e1")
    assert done["state"] == "succeeded", done
    reported = agent.post("/v1/commands/container.report", {"all": True}).json()
    assert len(api.container_reports) == 1
    made = agent.engine.api.inspect_container("shop-prod-1")
    log = agent.get("/v1/executions/e1/log")
    _no_secret_is_left(agent, done, reported, api.container_reports, made, log)


@pytest.mark.parametrize(
    "auth", [None, {"username": USER, "password": PASSWORD + "-old"}], ids=["none", "wrong"]
)
def test_credentials_that_are_not_right_are_a_clear_failure(agent, registry, auth):
    registry.add("1.1", "1.1")
    agent.deploy("e1", "1.0")
    failed = agent.deploy("e2", "1.1", **_from(registry, "1.1", auth))
    assert (failed["state"], failed["container"]) == ("failed", None)
    assert f"cannot pull {registry.image('1.1')}: " in failed["error"]
    assert "no basic auth credentials" in failed["error"] or "unauthorized" in failed["error"].lower()
    assert failed["error"].endswith("shop-prod-1 (1.0) serves as before")
    _no_secret_is_left(agent, failed)
    assert agent.serving() == ["1.0"]


def test_cancel_in_the_middle_of_a_pull_ends_the_engines_pull_too(agent, registry):
    registry.add("1.1", "1.1")
    registry.blobs = "dribble"
    agent.deploy("e1", "1.0")
    agent.begin("e2", "1.1", **_from(registry, "1.1", RIGHT))
    wait_until(lambda: registry.sending)
    began = time.monotonic()
    agent.post("/v1/executions/e2/cancel", {})
    cancelled = agent.end_of("e2")
    assert cancelled["state"] == "cancelled"
    assert cancelled["error"] == "it was cancelled; shop-prod-1 (1.0) serves as before"
    wait_until(lambda: registry.broken_off == registry.sending)
    assert time.monotonic() - began < 20
    assert agent.containers() == {"shop-prod-1": "1.0"}
    _no_secret_is_left(agent, cancelled)


def test_newer_image_under_the_same_tag_that_breaks_off_leaves_the_older_one_serving(agent, registry):
    older = registry.add("stable", "1.1")
    agent.deploy("e1", "1.1", **_from(registry, "stable", RIGHT))
    newer = registry.add("stable", "1.2")
    registry.blobs = "break_off"
    failed = agent.deploy("e2", "1.2", **_from(registry, "stable", RIGHT))
    assert (failed["state"], failed["container"]) == ("failed", None), failed
    assert f"cannot pull {registry.image('stable')}: " in failed["error"]
    assert failed["error"].endswith("shop-prod-1 (1.1) serves as before")
    assert agent.containers() == {"shop-prod-1": "1.1"}
    assert agent.engine.api.inspect_container("shop-prod-1")["Image"] == older
    assert agent.serving() == ["1.1"]
    registry.blobs = "whole"
    present = agent.deploy("e3", "1.1", **_from(registry, "stable", RIGHT, "if_not_present"))
    assert present["container"]["image_id"] == older
    fresh = agent.deploy("e4", "1.2", **_from(registry, "stable", RIGHT))
    assert fresh["container"]["image_id"] == newer
    assert agent.serving() == ["1.2"]
