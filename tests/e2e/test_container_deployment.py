"""TEST-010: a whole container deployment with its container report: Prefect, worker, API, agents, a real Docker engine."""

import pytest

from tests.alias_poller import AliasPoller
from tests.e2e.container_shop import ContainerShop
from tests.e2e.shop import flow_state
from tests.real_processes import wait_until

CLIENTS = ("web-1", "web-2")


@pytest.fixture
def network(docker_engine):
    made = docker_engine.api.create_network("boxes-net", check_duplicate=True)
    yield "boxes-net"
    docker_engine.remove_all()
    docker_engine.api.remove_network(made["Id"])


@pytest.fixture
def shop(fleet, docker_engine, network):
    return ContainerShop(fleet, docker_engine, CLIENTS, network)


def test_010_install_upgrade_failed_upgrade_rollback_uninstall(shop, docker_engine, tmp_path):
    install(shop)
    poller = AliasPoller(docker_engine, shop.network, f"{shop.name}:1.0", tmp_path / "out")
    wait_until(lambda: poller.answers("1.0", 100))
    upgrade(shop)
    wait_until(lambda: poller.answers("1.1", 100))
    fail(shop)
    said = poller.end()
    assert said["failed"] == [], "a client of the alias saw a failed request"
    assert set(said["seen"]) == {"1.0", "1.1"}
    roll_back(shop)
    fail_and_go_back(shop)
    uninstall(shop)


def install(shop):
    task = shop.deploy("install", version="1.0", client_ids=list(CLIENTS))
    assert (task["status"], task["success_count"]) == ("completed", 2), shop.results(task)
    results = shop.results(task)
    names = {result["container_name"] for result in results.values()}
    assert names == {f"{shop.name}-prod-1", f"{shop.name}-prod-2"}  # one engine: the second name gave way
    table = shop.artifact(task["flow_run_id"], f"upgrade-containers-{task['id']}")
    assert [row["client"] for row in table] == list(CLIENTS)
    assert all(row["will be"].startswith(f"{shop.name}-prod-") for row in table)
    for client, result in results.items():
        [container] = shop.containers(client)
        assert container["Id"] == result["container_id"]
        assert container["Names"] == [f"/{result['container_name']}"]
        assert container["Labels"]["hoist.version"] == "1.0"
        assert container["Labels"]["hoist.deploy_task"] == task["id"]
        assert container["Labels"]["hoist.environment"] == "prod"
        evidence = result["evidence"]
        assert evidence["held"]
        assert evidence["gap_ms"] == 0
        assert evidence["containers"][0]["image_id"] == shop.images["1.0"]
        assert shop.serving(client) == ["1.0"]
    check_report(shop, {"1.0"})


def upgrade(shop):
    task = shop.deploy("update", version="1.1", auto_select_clients=True, source_version="1.0")
    assert (task["status"], task["success_count"]) == ("completed", 2), shop.results(task)
    assert task["selected_from_version"] == "1.0"
    for client in CLIENTS:
        assert shop.serving(client) == ["1.1"]
        assert [one["Labels"]["hoist.version"] for one in shop.containers(client, "exited")] == ["1.0"]
    assert set(shop.installations().values()) == {("1.1", "1.0", "installed")}
    assert flow_state(shop.fleet, task["flow_run_id"])["type"] == "COMPLETED"
    check_report(shop, {"1.0", "1.1"})


def fail(shop):
    task = shop.deploy("update", version="1.2", auto_select_clients=True, failure_strategy="continue")
    assert (task["status"], task["failed_count"]) == ("failed", 2)
    for client, result in shop.results(task).items():
        assert result["status"] == "failed"
        assert "unhealthy" in result["error"]
        assert (result["container_name"], result["container_id"]) == (None, None), "it is not there any more"
        assert "app 1.2 starts" in result["output"]
        assert shop.serving(client) == ["1.1"]
    assert set(shop.installations().values()) == {("1.1", "1.0", "failed")}


def roll_back(shop):
    kept = {client: shop.containers(client, "exited")[0]["Id"] for client in CLIENTS}
    task = shop.deploy("rollback", auto_select_clients=True, include_failed=True)
    assert (task["status"], task["success_count"]) == ("completed", 2), shop.results(task)
    for client, result in shop.results(task).items():
        assert result["container_id"] == kept[client]
        assert shop.serving(client) == ["1.0"]
    assert set(shop.installations().values()) == {("1.0", None, "installed")}


def fail_and_go_back(shop):
    """The agent has put 1.0 back already: taking the client back leaves it, and what is kept, alone."""
    before = {client: {one["Id"]: one["State"] for one in shop.containers(client)} for client in CLIENTS}
    asked = {"auto_rollback": "failed", "failure_strategy": "continue", "env": {"GREETING": "a canary's"}}
    task = shop.deploy("update", version="1.2", auto_select_clients=True, **asked)
    assert (task["status"], task["rolled_back_count"]) == ("rolled_back", 2), shop.results(task)
    for client, result in shop.results(task).items():
        assert {one["Id"]: one["State"] for one in shop.containers(client)} == before[client]
        assert result["rollback"]["status"] == "success", result
        assert before[client][result["container_id"]] == "running"
        assert shop.serving(client) == ["1.0"]
    assert {(version, status) for version, _, status in shop.installations().values()} == {
        ("1.0", "installed")
    }


def uninstall(shop):
    task = shop.deploy("uninstall", auto_select_clients=True)
    assert (task["status"], task["success_count"]) == ("completed", 2), shop.results(task)
    assert not any(shop.containers(client) for client in CLIENTS)
    assert {status for _, _, status in shop.installations().values()} == {"uninstalled"}
    shop.report_now()  # one engine: the client that was first still saw the other's
    assert shop.reported()["summary"] == {
        "total_clients": 0,
        "total_containers": 0,
        "running_count": 0,
        "stopped_count": 0,
    }


def check_report(shop, versions):
    """The release API has what the agents reported after the deployment: each of the shared engine's containers."""
    answer = shop.reported()
    assert answer["prefix"] == shop.name
    assert {client["client_id"] for client in answer["clients"]} <= set(CLIENTS)
    newest = max(answer["clients"], key=lambda client: client["last_report"])
    assert {one["version"] for one in newest["containers"]} == versions
    assert {one["matched_project"] for one in newest["containers"]} == {shop.name}
    running = [one for one in newest["containers"] if one["state"] == "running"]
    assert all(one["memory_usage"] > 0 for one in running)
    assert wait_until(lambda: counted_alike(shop)), "reports come between two questions: asked until none did"


def counted_alike(shop):
    """Whether the overview counts the project's running containers as its own page does."""
    running = shop.reported()["summary"]["running_count"]
    overview = shop.api.get("/containers/overview")
    mine = next(one for one in overview["by_project"] if one["project_id"] == shop.project)
    assert (mine["prefix"], mine["project_name"]) == (shop.name, shop.name)
    return mine["running"] == running > 0
