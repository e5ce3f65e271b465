"""A real agent watches the containers of a real engine for its monitors: by the interval, by the engine's events, over its restart."""

import time
from pathlib import Path

import pytest

from tests.agents import AgentProcess
from tests.docker_engine import DockerEngine
from tests.real_processes import wait_until
from tests.report_receiver import ReleaseApi, api

__all__ = ["api"]

SOON_S = 3.0
"""An event is reported within a second; a busy machine is given more."""


@pytest.fixture
def engine(docker_engine: DockerEngine) -> DockerEngine:
    docker_engine.build("app:plain", health=False)
    return docker_engine


@pytest.fixture
def agent(tmp_path: Path, engine: DockerEngine, api: ReleaseApi):
    process = AgentProcess(tmp_path, HOIST_AGENT_API_URL=api.url, HOIST_AGENT_DOCKER_HOST=engine.url)
    try:
        yield process.start()
    finally:
        process.close()


def _put(agent: AgentProcess, project: str = "shop", interval: int = 3600, **fields):
    body = {"version": "1.0", "release_id": "t", "containers": True, **fields}
    body.setdefault("process_config", {"collect_interval": interval})
    answer = agent.http.put(f"/v1/monitors/{project}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _run(engine: DockerEngine, name: str) -> str:
    made = engine.api.create_container("app:plain", name=name)
    engine.api.start(made["Id"])
    return str(made["Id"])


def _states(api: ReleaseApi) -> dict[str, str]:
    newest = api.container_reports[-1]
    return {one["container_name"]: one["state"] for one in newest["containers"]}


def _took(read) -> float:
    begun = time.monotonic()
    wait_until(read)
    return time.monotonic() - begun


def test_container_that_dies_starts_and_goes_is_reported_at_once(agent, api, engine):
    assert _put(agent)["containers"] is True
    wait_until(lambda: api.container_reports)
    container = _run(engine, "shop-1")
    took = {"start": _took(lambda: _states(api).get("shop-1") == "running")}
    engine.api.kill(container)
    took["die"] = _took(lambda: _states(api)["shop-1"] == "exited")
    engine.api.start(container)
    took["start again"] = _took(lambda: _states(api)["shop-1"] == "running")
    engine.api.remove_container(container, force=True)
    took["destroy"] = _took(lambda: "shop-1" not in _states(api))
    print({event: f"{seconds * 1000:.0f} ms" for event, seconds in took.items()})
    assert max(took.values()) < SOON_S
    assert api.reports == []  # no rules and no probe: there are no processes to report
    shown = agent.get("/v1/monitors/shop")
    assert (shown["last_error"], shown["dropped"]) == (None, 0)
    assert shown["last_report_at"] is not None


def test_one_report_for_the_host_at_the_smallest_interval_that_is_asked_for(agent, api, engine):
    rules = [{"type": "port", "pattern": "1", "name": "none"}]
    _put(agent, "shop", interval=5)
    _put(agent, "blog", interval=3600)
    _put(agent, "web", process_config={"rules": rules, "collect_interval": 3600}, containers=False)
    time.sleep(3)  # what the monitors' own start leads to
    had = len(api.container_reports)
    time.sleep(16)
    assert 3 <= len(api.container_reports) - had <= 4
    assert {report["project_id"] for report in api.reports} == {"web"}
    assert agent.http.delete("/v1/monitors/shop").status_code == 204
    time.sleep(3)
    had = len(api.container_reports)
    time.sleep(7)
    assert len(api.container_reports) == had


def test_engine_that_is_away_is_not_reported_as_empty_and_is_heard_again_when_it_is_back(agent, api, engine):
    _run(engine, "shop-1")
    _put(agent, interval=5)
    wait_until(lambda: api.container_reports)
    engine.stop()
    try:
        wait_until(lambda: "Docker engine" in (agent.get("/v1/monitors/shop")["last_error"] or ""))
        assert _states(api)["shop-1"] in ("running", "exited")
        had = len(api.container_reports)
        time.sleep(6)
        assert len(api.container_reports) == had
    finally:
        engine.start()
    took = _took(lambda: len(api.container_reports) > had)
    print(f"an engine that came back was reported after {took:.1f} s")
    assert took < 16 + SOON_S
    wait_until(lambda: agent.get("/v1/monitors/shop")["last_error"] is None)
    container = _run(engine, "shop-2")
    wait_until(lambda: _states(api).get("shop-2") == "running")
    engine.api.kill(container)
    assert _took(lambda: _states(api)["shop-2"] == "exited") < SOON_S
    assert all(report["containers"] for report in api.container_reports)


def test_killed_agent_watches_the_containers_again_after_its_restart(agent, api, engine):
    _put(agent)
    wait_until(lambda: api.container_reports)
    agent.kill()
    container = _run(engine, "shop-1")
    agent.start()
    wait_until(lambda: _states(api).get("shop-1") == "running")
    engine.api.kill(container)
    assert _took(lambda: _states(api)["shop-1"] == "exited") < SOON_S + 3


def test_crash_loop_of_a_container_makes_a_bounded_number_of_reports(agent, api, engine):
    _put(agent)
    wait_until(lambda: api.container_reports)
    engine.build("app:dead", health=False, DIE="1")
    policy = engine.api.create_host_config(restart_policy={"Name": "always"})
    made = engine.api.create_container("app:dead", name="shop-dead", host_config=policy)
    engine.api.start(made["Id"])
    time.sleep(12)
    print(f"{len(api.container_reports)} reports of a container that crashed for 12 s")
    assert 3 <= len(api.container_reports) <= 30


def test_container_that_falls_ill_is_reported_at_once(agent, api, engine):
    engine.build("app:sick", UNHEALTHY="1")
    _put(agent)
    wait_until(lambda: api.container_reports)
    made = engine.api.create_container("app:sick", name="shop-sick")
    engine.api.start(made["Id"])
    wait_until(lambda: engine.api.inspect_container(made["Id"])["State"]["Health"]["Status"] == "unhealthy")
    took = _took(lambda: api.container_reports[-1]["containers"][0].get("health") == "unhealthy")
    print(f"illness was reported after {took * 1000:.0f} ms")
    assert took < SOON_S
