"""A real agent watches the containers of a real engine for its monitors: by the interval, by the engine's events, over its restart."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.agents import AgentProcess
from tests.docker_engine import DockerEngine
from tests.real_processes import wait_until
from tests.report_receiver import ReleaseApi, api

__all__ = ["api"]

WITHIN_S, TRIES = 1.0, 4
"""An event is reported within a second; a busy machine gets more than one try."""
BUSY_S = 3.0
"""So much more does a busy machine get for what takes several seconds."""
QUIET_S = 2.5
"""So long after an event no look is to come that it has led to: the next event is noticed by itself, or not in time."""


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


def _health(api: ReleaseApi) -> dict[str, str | None]:
    return {one["container_id"]: one.get("health") for one in api.container_reports[-1]["containers"]}


def _took(read) -> float:
    begun = time.monotonic()
    wait_until(read)
    return time.monotonic() - begun


def _best_of_tries(once: Callable[[], float]) -> float:
    """How long it took when it was quickest; it is not tried again once it was quick enough."""
    took = [once()]
    while min(took) > WITHIN_S and len(took) < TRIES:
        took.append(once())
    print(f"took {took} s")
    return min(took)


def _end(engine: DockerEngine, api: ReleaseApi, container: str, name: str) -> float:
    """How long it takes from the kill, before the engine answers it, to the report; one that ended before is started again."""
    engine.api.start(container)
    wait_until(lambda: _states(api).get(name) == "running")
    time.sleep(QUIET_S)
    begun = time.monotonic()
    engine.api.kill(container)
    wait_until(lambda: _states(api)[name] == "exited")
    return time.monotonic() - begun


def _life(agent: AgentProcess, api: ReleaseApi, engine: DockerEngine, interval: int) -> dict[str, float]:
    """How long each event in a container's life took to be reported. Another interval begins to watch anew."""
    had = len(api.container_reports)
    assert _put(agent, interval=interval)["containers"] is True
    wait_until(lambda: len(api.container_reports) > had)
    time.sleep(QUIET_S)
    container = _run(engine, "shop-1")
    took = {"start": _took(lambda: _states(api).get("shop-1") == "running")}
    took["die"] = _end(engine, api, container, "shop-1")
    time.sleep(QUIET_S)
    engine.api.start(container)
    took["start again"] = _took(lambda: _states(api)["shop-1"] == "running")
    time.sleep(QUIET_S)
    engine.api.remove_container(container, force=True)
    took["destroy"] = _took(lambda: "shop-1" not in _states(api))
    print({event: f"{seconds * 1000:.0f} ms" for event, seconds in took.items()})
    return took


def test_container_that_dies_starts_and_goes_is_reported_at_once(agent, api, engine):
    best = _life(agent, api, engine, 3600)
    for number in range(1, TRIES):
        if max(best.values()) > WITHIN_S:
            again = _life(agent, api, engine, 3600 - number)
            best = {event: min(took, again[event]) for event, took in best.items()}
    assert max(best.values()) <= WITHIN_S, best
    assert api.reports == []  # no rules and no probe: there are no processes to report
    shown = agent.get("/v1/monitors/shop")
    assert (shown["last_error"], shown["dropped"]) == (None, 0)
    assert shown["last_report_at"] is not None


def test_start_is_reported_without_waiting_for_its_cpu_which_the_next_report_has(agent, api, engine):
    _put(agent)
    wait_until(lambda: api.container_reports)
    container = engine.api.create_container("app:plain", name="shop-1")["Id"]
    time.sleep(QUIET_S)
    had = len(api.container_reports)
    engine.api.start(container)
    wait_until(lambda: len(api.container_reports) >= had + 2)
    first, second = (one["containers"][0] for one in api.container_reports[had : had + 2])
    assert (first["state"], "cpu_percent" in first, "cpu_percent" in second) == ("running", False, True)
    assert first["memory_usage"] > 0


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
    assert took < 16 + BUSY_S
    wait_until(lambda: agent.get("/v1/monitors/shop")["last_error"] is None)
    container = _run(engine, "shop-2")
    assert _best_of_tries(lambda: _end(engine, api, container, "shop-2")) <= WITHIN_S
    assert all(report["containers"] for report in api.container_reports)


def test_killed_agent_watches_the_containers_again_after_its_restart(agent, api, engine):
    _put(agent)
    wait_until(lambda: api.container_reports)
    agent.kill()
    container = _run(engine, "shop-1")
    agent.start()
    wait_until(lambda: _states(api).get("shop-1") == "running")
    assert _best_of_tries(lambda: _end(engine, api, container, "shop-1")) <= WITHIN_S


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

    def fall_ill() -> float:
        made = engine.api.create_container("app:sick")["Id"]
        engine.api.start(made)
        wait_until(lambda: engine.api.inspect_container(made)["State"]["Health"]["Status"] == "unhealthy")
        return _took(lambda: _health(api).get(made) == "unhealthy")

    assert _best_of_tries(fall_ill) <= WITHIN_S
