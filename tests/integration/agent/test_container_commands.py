"""container.collect, container.list and container.report of a real agent, on a real engine that comes and goes."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agent.containers.collector import ContainerCollector
from agent.containers.engine import Engine
from agent.containers.errors import EngineUnavailable
from tests.agents import ROOT, AgentProcess
from tests.docker_engine import DockerEngine
from tests.real_processes import wait_until
from tests.report_receiver import CONTAINERS, PROCESSES, ReleaseApi, api

__all__ = ["api"]

COMMANDS = "/v1/commands/"
ALL = {"all": True}
PROCESS_REPORT = {"project_id": "shop", "version": "2.0", "rules": []}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., AgentProcess]]:
    """Starts an agent with these settings (HOIST_AGENT_…)."""
    started: list[AgentProcess] = []

    def begin(**settings: str) -> AgentProcess:
        names = {f"HOIST_AGENT_{name}": value for name, value in settings.items()}
        started.append(AgentProcess(tmp_path, **names))
        return started[-1].start()

    yield begin
    for agent in started:
        agent.close()


@pytest.fixture
def engine(docker_engine: DockerEngine) -> DockerEngine:
    docker_engine.build("app:plain", health=False)
    return docker_engine


def _run(engine: DockerEngine, name: str, started: bool = True) -> None:
    made = engine.api.create_container("app:plain", name=name)
    if started:
        engine.api.start(made["Id"])


def _ask(agent: AgentProcess, command: str, body: Any) -> Any:
    answer = agent.post(COMMANDS + command, body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _matched(answer: Any) -> dict[str, str | None]:
    return {one["container_name"]: one["matched_prefix"] for one in answer["containers"]}


def test_containers_are_collected_and_counted_by_prefix(engine, start):
    agent = start(DOCKER_HOST=engine.url)
    for name, started in (("shop-1", True), ("shop-2", False), ("shop-api-1", True), ("shop2-1", True)):
        _run(engine, name, started)
    collected = _ask(agent, "container.collect", {"prefixes": ["shop", "shop-api"]})
    ours = {"shop-1": "shop", "shop-2": "shop", "shop-api-1": "shop-api"}
    assert _matched(collected) == ours
    running = next(one for one in collected["containers"] if one["container_name"] == "shop-1")
    assert running["memory_usage"] > 0
    assert running["cpu_percent"] is not None
    everything = _ask(agent, "container.collect", {"prefixes": ["shop", "shop-api"], "all": True})
    assert _matched(everything) == ours | {"shop2-1": None}
    listed = _ask(agent, "container.list", {"prefixes": ["shop", "shop-api", "none"]})
    assert _matched(listed) == ours
    assert {one["memory_usage"] for one in listed["containers"]} == {None}
    assert listed["counts"] == [
        {"prefix": "shop", "count": 2, "running": 1, "states": {"running": 1, "created": 1}},
        {"prefix": "shop-api", "count": 1, "running": 1, "states": {"running": 1}},
        {"prefix": "none", "count": 0, "running": 0, "states": {}},
    ]
    assert len(_ask(agent, "container.list", {})["containers"]) == 4
    version = engine.api.version()["Version"]
    assert version == collected["docker_version"] == agent.get("/v1/info")["docker_version"]


@pytest.mark.parametrize("command", ["container.collect", "container.report"])
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"prefixes": []}, "body"),
        ({"prefixes": [], "all": False}, "body"),
        ({"prefixes": ["-hidden"]}, "prefixes.0"),
        ({"prefixes": ["a/b"]}, "prefixes.0"),
        ({"prefixes": "hidden"}, "prefixes"),
        ({"prefixes": ["a"] * 1001}, "prefixes"),
        ({"all": True, "everything": "hidden"}, "everything"),
        ({"all": "hidden"}, "all"),
    ],
)
def test_bad_request_is_told_which_field_is_bad(agent_without_engine, command: str, body: Any, field: str):
    answer = agent_without_engine.post(COMMANDS + command, body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert "hidden" not in answer.text


@pytest.fixture(scope="module")
def agent_without_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    agent = AgentProcess(
        tmp_path_factory.mktemp("agent"), HOIST_AGENT_DOCKER_HOST="unix:///nowhere/docker.sock"
    )
    try:
        yield agent.start()
    finally:
        agent.close()


def test_host_without_an_engine_says_so_at_once(agent_without_engine):
    for command, body in (("collect", ALL), ("list", {}), ("report", ALL)):
        answer = agent_without_engine.post(f"{COMMANDS}container.{command}", body)
        if command == "report":  # it has nobody to report to either
            assert answer.status_code == 409
            continue
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["part"] == "docker engine"
        assert answer.json()["detail"] == "cannot reach the Docker engine: there is no /nowhere/docker.sock"
    assert agent_without_engine.get("/v1/info")["docker_version"] is None


def test_agent_at_rest_does_not_load_the_sdk():
    code = "import sys, agent.assembly; print(sorted({'docker', 'requests'} & sys.modules.keys()))"
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert said.stdout == "[]\n"


def _timed(ask: Callable[[], Any]) -> tuple[float, Any]:
    began = time.monotonic()
    answer = ask()
    return time.monotonic() - began, answer


def test_engine_that_hangs_holds_up_nothing_else(engine, start):
    agent = start(DOCKER_HOST=engine.url)
    _run(engine, "shop-1")
    assert len(_ask(agent, "container.collect", ALL)["containers"]) == 1
    engine.suspend()
    try:
        with ThreadPoolExecutor(40) as threads:
            asked = [
                threads.submit(_timed, lambda: agent.post(COMMANDS + "container.collect", ALL))
                for _ in range(40)
            ]
            for path in ("/healthz", "/v1/info", "/v1/monitors"):
                took_s, _ = _timed(lambda path=path: agent.get(path))
                assert took_s < 4, path
            took_s, _ = _timed(lambda: _ask(agent, "process.collect", {"project_id": "p", "rules": []}))
            assert took_s < 4
            answers = [one.result() for one in asked]
        assert {answer.status_code for _, answer in answers} == {503}
        assert {answer.json()["part"] for _, answer in answers} == {"docker engine"}
        assert max(took_s for took_s, _ in answers) < 9
        assert any("too many questions" in answer.json()["detail"] for _, answer in answers)
    finally:
        engine.resume()
    wait_until(lambda: agent.post(COMMANDS + "container.collect", ALL).status_code == 200)


def _connections(engine: DockerEngine) -> int:
    """How many there are at the engine's socket, those that it did not accept yet included."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    return len([line for line in lines if line.endswith(f" {engine.socket}")])


def test_agent_ends_while_the_engine_hangs(engine, start):
    agent = start(DOCKER_HOST=engine.url)
    engine.suspend()
    before = _connections(engine)
    try:
        with ThreadPoolExecutor(1) as threads:
            answer = threads.submit(agent.post, COMMANDS + "container.collect", ALL)
            wait_until(lambda: _connections(engine) > before)
            took_s, _ = _timed(agent.stop)
            answer.exception()
        assert took_s < 10
    finally:
        engine.resume()


def test_engine_that_was_stopped_and_came_back_is_found_again(engine, start):
    agent = start(DOCKER_HOST=engine.url)
    collector = ContainerCollector(Engine(engine.url))
    assert _ask(agent, "container.collect", ALL)["containers"] == []
    collector.collect()
    engine.stop()
    try:
        answer = agent.post(COMMANDS + "container.collect", ALL)
        assert answer.status_code == 503
        assert answer.json()["detail"].startswith("cannot reach the Docker engine: ")
        with pytest.raises(EngineUnavailable, match=r"there is no|nothing listens"):
            collector.collect()
    finally:
        engine.start()
    _run(engine, "shop-1")
    found = _ask(agent, "container.collect", ALL)
    assert list(_matched(found)) == ["shop-1"]
    assert found["docker_version"]
    assert len(collector.collect().containers) == 1


@pytest.mark.parametrize("folder_mode", [0o700, 0o711], ids=["the socket's directory", "the socket"])
def test_agent_that_may_not_use_the_engine_says_so(engine, folder_mode: int):
    ContainerCollector(
        Engine(engine.url)
    ).collect()  # everything is imported before the child gives up its rights
    before = engine.folder.stat().st_mode
    engine.folder.chmod(folder_mode)
    try:
        said = _as_nobody(lambda: ContainerCollector(Engine(engine.url)).collect())
    finally:
        engine.folder.chmod(before)
    assert said.startswith("cannot reach the Docker engine: the agent may not")


def _as_nobody(ask: Callable[[], Any]) -> str:
    """What a child without rights is told when it asks."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = "nothing"
        try:
            os.setgroups([])
            os.setgid(65_534)
            os.setuid(65_534)
            ask()
        except BaseException as error:
            said = str(error)
        finally:
            os.write(writing, said.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    return said


def _spooled(agent: AgentProcess) -> list[str]:
    return sorted(path.name.partition(".")[2] for path in (agent.state_dir / "spool").iterdir())


def test_report_reaches_the_release_api(engine, start, api: ReleaseApi):
    agent = start(DOCKER_HOST=engine.url, API_URL=api.url, API_TOKEN="report-token")
    _run(engine, "shop-1")
    answer = _ask(agent, "container.report", ALL)
    assert (answer["delivered"], answer["error"]) == (True, None)
    [report] = api.container_reports
    assert (report["client_id"], report["report_id"]) == ("web-1", answer["report_id"])
    assert report["docker_version"] == answer["docker_version"]
    assert [one["container_name"] for one in report["containers"]] == ["shop-1"]
    assert report["containers"][0]["memory_usage"] > 0
    assert api.tokens == ["Bearer report-token"]
    assert _spooled(agent) == []


def test_report_of_some_prefixes_has_everything_and_the_answer_only_theirs(engine, start, api: ReleaseApi):
    agent = start(DOCKER_HOST=engine.url, API_URL=api.url)
    for name in ("shop-1", "web-1", "other"):
        _run(engine, name)
    answer = _ask(agent, "container.report", {"prefixes": ["shop", "none"]})
    assert (_matched(answer), answer["delivered"]) == ({"shop-1": "shop"}, True)
    both = _ask(agent, "container.report", {"prefixes": ["web"], "all": True})
    assert _matched(both) == {"shop-1": None, "web-1": "web", "other": None}
    assert len(api.container_reports) == 2
    for report in api.container_reports:
        assert {one["container_name"] for one in report["containers"]} == {"shop-1", "web-1", "other"}
        assert all(one["memory_usage"] for one in report["containers"])


def test_report_waits_for_the_release_api_over_a_crash(engine, start, api: ReleaseApi):
    agent = start(DOCKER_HOST=engine.url, API_URL=api.url)
    api.stop()
    first = _ask(agent, "container.report", ALL)
    assert not first["delivered"]
    assert "cannot reach the release API" in first["error"]
    assert not _ask(agent, "process.report", PROCESS_REPORT)["delivered"]
    assert _spooled(agent) == ["@containers.json", "shop.json"]
    agent.kill()
    agent.start()
    api.start()
    wait_until(lambda: api.container_reports and api.reports)
    assert [report["report_id"] for report in api.container_reports] == [first["report_id"]]
    wait_until(lambda: _spooled(agent) == [])


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("refused", [CONTAINERS, PROCESSES])
def test_reports_of_one_kind_are_refused_and_the_others_arrive(
    engine, start, api: ReleaseApi, refused: str, status: int
):
    agent = start(DOCKER_HOST=engine.url, API_URL=api.url)
    api.statuses = {refused: status}
    answers = {
        CONTAINERS: _ask(agent, "container.report", ALL),
        PROCESSES: _ask(agent, "process.report", PROCESS_REPORT),
    }
    answers[CONTAINERS + " again"] = _ask(agent, "container.report", ALL)
    delivered = {kind: answer["delivered"] for kind, answer in answers.items()}
    assert delivered == {kind: not kind.startswith(refused) for kind in answers}
    assert f"{status}: told why" in answers[refused]["error"]
    api.statuses = {}
    wait_until(lambda: (len(api.container_reports), len(api.reports)) == (2, 1))


def test_report_that_is_refused_for_good_is_dropped(engine, start, api: ReleaseApi):
    agent = start(DOCKER_HOST=engine.url, API_URL=api.url)
    api.statuses = {CONTAINERS: 422}
    answer = _ask(agent, "container.report", ALL)
    assert not answer["delivered"]
    assert "422: told why" in answer["error"]
    assert _spooled(agent) == []


def test_reports_that_an_earlier_agent_spooled_are_delivered(engine, tmp_path, api: ReleaseApi, start):
    spool = tmp_path / "state" / "spool"
    spool.mkdir(parents=True)
    (spool / "0000000000000007.shop.json").write_text(json.dumps({"project_id": "shop", "report_id": "old"}))
    agent = start(DOCKER_HOST=engine.url, API_URL=api.url)
    wait_until(lambda: api.reports)
    assert api.reports == [{"project_id": "shop", "report_id": "old"}]
    assert _ask(agent, "container.report", ALL)["delivered"]
    assert len(api.container_reports) == 1


def test_engine_that_does_not_answer_is_not_reported_as_empty(start, api: ReleaseApi):
    agent = start(DOCKER_HOST="unix:///nowhere/docker.sock", API_URL=api.url)
    answer = agent.post(COMMANDS + "container.report", ALL)
    assert (answer.status_code, answer.json()["part"]) == (503, "docker engine")
    assert _spooled(agent) == []
    assert api.container_reports == []
