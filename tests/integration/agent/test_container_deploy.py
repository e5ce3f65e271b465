"""`container.deploy`: a version's container takes the place of the one before it, on a real Docker engine."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.agent.container_agent import ContainerAgent, ask_port, free_port
from tests.real_processes import wait_until

PATIENT = {"health_check": {"command": ["/app", "health"], "interval_s": 1, "retries": 100}}


@pytest.fixture(scope="module")
def images(session_docker_engine) -> dict[str, str]:
    """The digests of the application's versions."""
    behaviours = {
        "1.0": {},
        "1.1": {},
        "1.2": {},
        "sick": {"UNHEALTHY": "1"},
        "dead": {"DIE": "1"},
        "slow": {"SLOW_START_S": "30"},
    }
    return {name: session_docker_engine.build(f"shop:{name}", **env) for name, env in behaviours.items()} | {
        name: session_docker_engine.build(f"shop:{name}", health=False, **env)
        for name, env in {"plain": {}, "dies": {"DIE_AFTER_S": "2"}}.items()
    }


@pytest.fixture
def agent(tmp_path: Path, docker_engine, images):
    process = ContainerAgent(tmp_path / "one", docker_engine)
    try:
        yield process.start()
    finally:
        process.close()


def test_install_update_and_one_previous_is_kept(agent, images):
    first = agent.deploy("e1", "1.0")
    assert (first["state"], first["exit_code"], first["error"]) == ("succeeded", 0, None), first
    assert first["container"]["container_name"] == "shop-prod-1"
    assert first["container"]["image_id"] == images["1.0"]
    assert (first["container"]["replaced"], first["container"]["gap_ms"]) == (None, 0)
    second = agent.deploy("e2", "1.1")
    assert second["container"]["replaced"] == "shop-prod-1"
    assert second["container"]["gap_ms"] == 0
    assert agent.containers() == {"shop-prod-1": "1.0", "shop-prod-2": "1.1"}
    assert agent.serving() == ["1.1"]
    third = agent.deploy("e3", "1.2")
    assert third["container"]["container_name"] == "shop-prod-3"
    assert agent.containers() == {"shop-prod-2": "1.1", "shop-prod-3": "1.2"}
    assert agent.containers("running") == {"shop-prod-3": "1.2"}
    fourth = agent.deploy("e4", "1.0", keep_previous=0)
    assert fourth["container"]["container_name"] == "shop-prod-1"
    assert agent.containers() == {"shop-prod-1": "1.0"}


def test_stopped_one_stays_so_over_a_restart_of_the_engine(agent, docker_engine):
    agent.deploy("e1", "1.0", config={"restart_policy": {"name": "always"}})
    agent.deploy("e2", "1.1")
    kept = docker_engine.api.inspect_container("shop-prod-1")["HostConfig"]["RestartPolicy"]
    assert kept["Name"] == "no"
    rolled = agent.deploy("e3", "1.0", operation="rollback")
    assert rolled["container"]["container_name"] == "shop-prod-1"
    back = docker_engine.api.inspect_container("shop-prod-1")["HostConfig"]["RestartPolicy"]
    assert back["Name"] == "always"


def test_name_that_a_stranger_has_gives_way_to_the_next(agent, docker_engine):
    docker_engine.api.create_container("shop:1.0", name="shop-prod-1")
    done = agent.deploy("e1", "1.0", name="shop-prod-1")
    assert done["container"]["container_name"] == "shop-prod-2"
    assert "the name shop-prod-1 is taken" in done["output_tail"]
    refused = agent.deploy("e2", "1.0", name="shop-prod-1", naming=None)
    assert refused["state"] == "failed"
    assert "the name shop-prod-1 is taken" in refused["error"]
    assert agent.serving() == ["1.0"]


def test_two_agents_on_one_engine_ask_for_the_same_name_at_once(agent, docker_engine, tmp_path):
    other = ContainerAgent(tmp_path / "two", docker_engine, "web-2")
    try:
        other.start()
        with ThreadPoolExecutor() as threads:
            one = threads.submit(agent.deploy, "e1", "1.0", name="shop-prod-1")
            two = threads.submit(other.deploy, "e1", "1.1", name="shop-prod-1")
        names = {one.result()["container"]["container_name"], two.result()["container"]["container_name"]}
        assert names == {"shop-prod-1", "shop-prod-2"}
        assert (agent.serving(), other.serving()) == (["1.0"], ["1.1"])
    finally:
        other.close()


@pytest.mark.parametrize(
    ("version", "said", "shown"),
    [
        ("sick", "is unhealthy after", "app sick starts"),
        ("dead", "it ended", "told to die"),  # with 3: unless it is looked at when it was just started again
        ("dies", "is not well: it ended", "app dies starts"),
    ],
)
def test_new_one_that_is_not_well_is_taken_away_and_the_previous_serves(agent, version, said, shown):
    agent.deploy("e1", "1.0")
    before = agent.engine.api.inspect_container("shop-prod-1")["State"]["StartedAt"]
    failed = agent.deploy("e2", version, stable_for_s=8)
    assert (failed["state"], failed["exit_code"], failed["container"]) == ("failed", 1, None)
    assert said in failed["error"]
    assert failed["error"].endswith("shop-prod-1 (1.0) serves as before")
    assert shown in failed["output_tail"]
    assert agent.containers() == {"shop-prod-1": "1.0"}
    assert agent.engine.api.inspect_container("shop-prod-1")["State"]["StartedAt"] == before
    assert agent.serving() == ["1.0"]


def test_container_without_health_check_is_well_once_it_ran_long_enough(agent):
    done = agent.deploy("e1", "plain", stable_for_s=2)
    assert done["state"] == "succeeded"
    assert done["duration_ms"] >= 2000
    assert "it has no health check" in done["output_tail"]


def test_same_port_of_the_host_reverses_the_order_and_the_gap_is_told(agent):
    port = free_port()
    config = {"ports": [{"container_port": 8080, "host_port": port, "host_ip": "127.0.0.1"}]}
    agent.deploy("e1", "1.0", config=config)
    done = agent.deploy("e2", "1.1", config=config)
    assert done["state"] == "succeeded", done
    assert 0 < done["container"]["gap_ms"] < 30_000
    assert "both need the same port" in done["output_tail"]
    assert ask_port(port) == "1.1"
    failed = agent.deploy("e3", "sick", config=config)
    assert failed["state"] == "failed"
    assert "shop-prod-2 (1.1) serves again, after" in failed["error"]
    assert ask_port(port) == "1.1"
    assert agent.containers("running") == {"shop-prod-2": "1.1"}


def test_other_port_of_the_host_makes_no_gap(agent):
    for number, version in enumerate(("1.0", "1.1")):
        port = free_port()
        config = {"ports": [{"container_port": 8080, "host_port": port, "host_ip": "127.0.0.1"}]}
        done = agent.deploy(f"e{number}", version, config=config)
        assert done["container"]["gap_ms"] == 0
        assert ask_port(port) == version


def test_port_that_a_stranger_has_is_a_clear_failure(agent, docker_engine):
    port = free_port()
    host = docker_engine.api.create_host_config(port_bindings={8080: ("127.0.0.1", port)})
    stranger = docker_engine.api.create_container("shop:1.0", ports=[8080], host_config=host)
    docker_engine.api.start(stranger)
    config = {"ports": [{"container_port": 8080, "host_port": port, "host_ip": "127.0.0.1"}]}
    failed = agent.deploy("e1", "1.1", config=config)
    assert failed["state"] == "failed"
    assert "port is already allocated" in failed["error"]
    assert not agent.containers()
    assert ask_port(port) == "1.0"


def test_rollback_starts_the_kept_one_or_makes_it_anew(agent):
    agent.deploy("e1", "1.0")
    kept = agent.engine.api.inspect_container("shop-prod-1")["Id"]
    agent.deploy("e2", "1.1")
    back = agent.deploy("e3", "1.0", operation="rollback")
    assert (back["state"], back["container"]["container_id"]) == ("succeeded", kept)
    assert agent.serving() == ["1.0"]
    assert agent.containers("exited") == {"shop-prod-2": "1.1"}
    agent.engine.api.remove_container("shop-prod-2")
    anew = agent.deploy("e4", "1.1", operation="rollback")
    assert anew["state"] == "succeeded"
    assert agent.serving() == ["1.1"]


def test_uninstall_removes_all_of_the_projects_and_nothing_else(agent, docker_engine):
    agent.deploy("e1", "1.0")
    agent.deploy("e2", "1.1")
    docker_engine.api.create_container("shop:1.0", name="shop-prod-9")
    done = agent.deploy("e3", "1.1", operation="uninstall", naming=None)
    assert (done["state"], done["container"]) == ("succeeded", None)
    assert not agent.containers()
    assert [one["Names"] for one in docker_engine.containers()] == [["/shop-prod-9"]]
    again = agent.deploy("e4", "1.1", operation="uninstall", naming=None)
    assert again["state"] == "succeeded"


def test_cancel_and_timeout_put_everything_back(agent):
    agent.deploy("e1", "1.0")
    agent.begin("e2", "slow", config=PATIENT)
    wait_until(lambda: "shop-prod-2" in agent.containers("running"))
    assert agent.post("/v1/executions/e2/cancel", {}).status_code == 202
    cancelled = agent.end_of("e2")
    assert cancelled["state"] == "cancelled"
    assert cancelled["error"] == "it was cancelled; shop-prod-1 (1.0) serves as before"
    late = agent.deploy("e3", "slow", timeout_s=3, config=PATIENT)
    assert late["state"] == "timed_out"
    assert late["error"].startswith("it was not done after 3 s; shop-prod-1")
    assert agent.containers() == {"shop-prod-1": "1.0"}


def test_image_that_is_not_there_fails_before_anything_is_touched(agent):
    agent.deploy("e1", "1.0")
    failed = agent.deploy("e2", "9.9")
    assert "image shop:9.9 is not on this host, and is never pulled" in failed["error"]
    config = {"image": "127.0.0.1:1/shop:9.9", "pull": "always"}
    secret = {"username": "robot", "password": "hunter2-secret"}
    pulled = agent.deploy("e3", "9.9", config=config, registry_auth=secret)
    assert "cannot pull 127.0.0.1:1/shop:9.9" in pulled["error"]
    missing = agent.deploy("e4", "1.1", config={"networks": [{"name": "nowhere"}]})
    assert "nowhere" in missing["error"]
    assert agent.containers() == {"shop-prod-1": "1.0"}
    everything = [path.read_bytes() for path in agent.folder.rglob("*") if path.is_file()]
    assert not any(b"hunter2-secret" in content for content in everything)


def test_everything_that_is_configured_is_set(agent, docker_engine, tmp_path):
    config = {
        "env": {"GREETING": "hello"},
        "volumes": [{"source": str(tmp_path), "target": "/data", "read_only": True}],
        "restart_policy": {"name": "on-failure", "max_retries": 4},
        "resources": {"cpus": 0.5, "memory": 64 * 1024 * 1024, "pids": 50},
        "user": "1000:1000",
        "entrypoint": ["/app"],
        "command": ["serve"],
        "health_check": {"command": ["/app", "health"], "interval_s": 0.5, "retries": 7},
        "log": {"driver": "json-file", "options": {"max-size": "1m"}},
    }
    done = agent.deploy("e1", "1.0", config=config)
    assert done["state"] == "succeeded", done
    seen = docker_engine.api.inspect_container("shop-prod-1")
    host, made = seen["HostConfig"], seen["Config"]
    assert "GREETING=hello" in made["Env"]
    assert (seen["Mounts"][0]["Source"], seen["Mounts"][0]["Destination"], seen["Mounts"][0]["RW"]) == (
        str(tmp_path),
        "/data",
        False,
    )
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 4}
    assert (host["NanoCpus"], host["Memory"], host["PidsLimit"]) == (500_000_000, 64 * 1024 * 1024, 50)
    assert (made["User"], made["Entrypoint"], made["Cmd"]) == ("1000:1000", ["/app"], ["serve"])
    assert made["Healthcheck"]["Retries"] == 7
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "1m"}}
    assert made["Labels"]["hoist.deploy_task"] == "task-1"
    assert made["Labels"]["hoist.environment"] == "prod"


def test_same_execution_twenty_times_at_once_is_one_container(agent):
    with ThreadPoolExecutor(20) as threads:
        body = agent.request("e1", "1.0")
        sent = list(threads.map(lambda _: agent.post("/v1/commands/container.deploy", body), range(20)))
    assert {answer.status_code for answer in sent} <= {200, 202}
    assert agent.end_of("e1")["state"] == "succeeded"
    assert list(agent.containers()) == ["shop-prod-1"]
    changed = agent.post("/v1/commands/container.deploy", agent.request("e1", "1.1"))
    assert changed.status_code == 409
    assert agent.begin("e1", "1.0", registry_auth={"username": "a", "password": "b"})["state"] == "succeeded"


def test_other_client_lower_fence_and_second_execution_are_refused(agent):
    assert (
        agent.post("/v1/commands/container.deploy", agent.request("e1", "1.0", client_id="x")).status_code
        == 409
    )
    agent.begin("e1", "slow", fence=5, config=PATIENT)
    busy = agent.post("/v1/commands/container.deploy", agent.request("e2", "1.0", fence=5))
    assert (busy.status_code, "e1" in busy.json()["detail"]) == (409, True)
    agent.post("/v1/executions/e1/cancel", {"fence": 5})
    agent.end_of("e1")
    lower = agent.post("/v1/commands/container.deploy", agent.request("e2", "1.0", fence=4))
    assert (lower.status_code, lower.json()["title"]) == (409, "Lower fence")


def test_engine_that_is_down_is_refused_and_nothing_is_journalled(tmp_path, docker_engine, images):
    agent = ContainerAgent(tmp_path / "one", docker_engine, HOIST_AGENT_MIN_FREE_BYTES="1")
    agent._settings["HOIST_AGENT_DOCKER_HOST"] = f"unix://{tmp_path}/none.sock"
    try:
        agent.start()
        answer = agent.post("/v1/commands/container.deploy", agent.request("e1", "1.0"))
        assert (answer.status_code, answer.json()["part"]) == (503, "docker engine")
        assert agent.http.get("/v1/executions/e1").status_code == 404
        assert not list((agent.state_dir / "executions").iterdir())
        assert agent.get("/v1/info")["docker_version"] is None
    finally:
        agent.close()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"naming": None}, "body"),
        ({"config": {"image": "-x"}}, "deploy_config.image"),
        ({"config": {"networks": [{"name": "host"}, {"name": "a"}]}}, "deploy_config"),
        ({"config": {"volumes": [{"source": "/a/../b", "target": "/x"}]}}, "deploy_config.volumes.0.source"),
        ({"config": {"unknown": 1}}, "deploy_config.unknown"),
        ({"naming": {"prefix": "shop", "template": "${PREFIX}-${NOPE}"}}, "naming.template"),
        ({"keep_previous": 11}, "keep_previous"),
    ],
)
def test_bad_input_is_named_and_nothing_runs(agent, change, field):
    answer = agent.post("/v1/commands/container.deploy", agent.request("e1", "1.0", **change))
    assert answer.status_code == 422
    assert field in {error["field"] for error in answer.json()["errors"]}
    assert not list((agent.state_dir / "executions").iterdir())


def test_what_is_installed_is_known_afterwards(agent, tmp_path):
    agent.deploy("e1", "1.0")
    checked = agent.post("/v1/commands/release.check", {"project_id": "shop", "work_dir": "/"}).json()
    assert (checked["installed"], checked["version"]) == (True, "1.0")
