"""A very slow engine, played by a socket of ours: the agent's end does not wait for it."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.agents import AgentProcess
from tests.engine_between import EngineBetween, answer_of
from tests.integration.agent.container_agent import NAMING
from tests.real_processes import wait_until

DELAY_S = 4.5
"""Under every timeout of a single question."""
ENDS_WITHIN_S = 10

STATE = {"Status": "exited", "Running": False, "ExitCode": 0, "StartedAt": "2026-01-01T00:00:00Z"}
DEPLOY = {
    "execution_id": "e1",
    "project_id": "shop",
    "version": "1.0",
    "naming": NAMING,
    "deploy_config": {"image": "shop:1.0"},
}


class Asked:
    """An engine of four containers that answers each question after `DELAY_S`, or never; it counts the questions."""

    def __init__(self, *, answers: bool) -> None:
        self.questions = 0
        self._answers = answers

    def __call__(self, line: str) -> bytes:
        self.questions += 1
        time.sleep(DELAY_S if self._answers else 120)
        return answer_of(_content(line))


def _content(line: str) -> Any:
    if "/version" in line:
        return {"Version": "20.10", "ApiVersion": "1.41", "MinAPIVersion": "1.12"}
    if "/containers/json" in line:
        return [
            {"Id": str(one), "Names": [f"/shop-{one}"], "State": "exited", "Created": 1} for one in range(4)
        ]
    return {"State": STATE, "RestartCount": 0}


@pytest.fixture
def engine() -> Iterator[EngineBetween]:
    folder = Path(tempfile.mkdtemp(prefix="hoist-slow-"))
    between = EngineBetween(folder / "docker.sock")
    yield between
    between.close()
    shutil.rmtree(folder)


@pytest.fixture
def agent(tmp_path: Path, engine: EngineBetween) -> Iterator[AgentProcess]:
    process = AgentProcess(tmp_path, HOIST_AGENT_DOCKER_HOST=engine.url)
    try:
        yield process.start()
    finally:
        process.close()


@pytest.mark.parametrize("answers", [True, False], ids=["slowly", "never"])
@pytest.mark.parametrize(
    ("command", "body", "after"),
    [
        ("container.collect", {"all": True}, 1),
        ("container.collect", {"all": True}, 3),
        ("container.list", {}, 1),
        ("container.deploy", DEPLOY, 1),
    ],
    ids=["collect", "collect_later", "list", "deploy"],
)
def test_agent_ends_within_ten_seconds_whatever_its_engine_does(agent, engine, command, body, after, answers):
    asked = engine.decide = Asked(answers=answers)
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(agent.post, f"/v1/commands/{command}", body)
        wait_until(lambda: asked.questions >= (after if answers else 1))
        began = time.monotonic()
        status = agent.stop()
        took_s = time.monotonic() - began
        answer.exception()
    assert status == 0
    assert took_s < ENDS_WITHIN_S
    assert not os.path.exists(f"/proc/{agent.process.pid}/exe")


def test_deployment_is_refused_soon_where_the_engine_is_too_slow(agent, engine):
    engine.decide = Asked(answers=True)
    began = time.monotonic()
    refused = agent.post("/v1/commands/container.deploy", DEPLOY)
    assert (refused.status_code, refused.json()["part"]) == (503, "docker engine")
    assert time.monotonic() - began < 8
    assert not list((agent.state_dir / "executions").iterdir())
