"""TEST-009: a whole script deployment with its process report; Prefect's server, worker, API and agents are processes."""

from deployments.demo.fleet import Fleet
from deployments.demo.processes import wait_until
from tests.e2e.fleets import SHORT, running
from tests.e2e.shop import STRATEGY, Shop, flow_state
from tests.e2e.survival import outlives_agent


def fleet_on_postgresql(root, url):
    """A fleet of its own, Prefect's server too: deployments have one name, and each worker one database."""
    return running(Fleet(root, ("web-1", "web-2"), environ=SHORT, database_url=url))


def test_009_on_sqlite(fleet):
    deploy_and_check(Shop(fleet, ("web-1", "web-2")))


def test_009_on_postgresql(postgresql_url, tmp_path):
    with fleet_on_postgresql(tmp_path.resolve(), postgresql_url) as fleet:
        deploy_and_check(Shop(fleet))


def deploy_and_check(shop):
    install = shop.upgrade(
        version="1.0", operation="install", auto_select_clients=False, client_ids=list(shop.clients)
    )
    assert install["status"] == "completed"
    first = {client: process_of(shop, client, "1.0") for client in shop.clients}
    task = shop.upgrade(source_version="1.0", strategy=STRATEGY | {"waves": [1, "100%"]})
    assert (task["status"], task["success_count"], task["total_count"]) == ("completed", 2, 2)
    assert task["selected_from_version"] == "1.0"
    state = flow_state(shop.fleet, task["flow_run_id"])
    assert state["type"] == "COMPLETED"
    for client in shop.clients:
        check_client(shop, client, task["id"], first[client])


def check_client(shop, client, task_id, before):
    assert shop.serving(client) == "1.1"
    assert shop.runs(client) == ["install 1.0", "update 1.1"]
    result = shop.result(task_id, client)
    assert (result["status"], result["exit_code"], result["attempt"]) == ("success", 0, 1)
    assert result["evidence"]["held"]
    assert result["evidence"]["version_proven"]
    assert result["evidence"]["observed_version"] == "1.1"
    installed = shop.installations()[client]
    assert (installed["version"], installed["previous_version"], installed["status"]) == (
        "1.1",
        "1.0",
        "installed",
    )
    after = process_of(shop, client, "1.1")
    assert after["pid"] != before["pid"]
    assert after["matched_by"] == "app"
    log = shop.api.get(f"/tasks/{task_id}/results/{client}/log")
    assert log["complete"]
    assert f"{shop.name} 1.1 listens on {shop.ports[client]}" in log["output"]
    check_survival(shop, client, after)


def check_survival(shop, client, reported):
    """What was reported of the agent's end comes true when it is killed."""
    agent = shop.fleet.agents[client]
    outlived = outlives_agent(agent.process.pid, reported["pid"], agent.process.kill)
    agent.restart()
    assert reported["survives_agent_stop"] is outlived, reported["survival_reason"]
    assert shop.serving(client) == "1.1"


def process_of(shop, client, version):
    """The client's process as the release API has it from a report of that version."""

    def reported():
        clients = shop.api.get(f"/projects/{shop.project}/processes")["clients"]
        mine = next(c for c in clients if c["client_id"] == client)
        return mine if mine["version"] == version and mine["processes"] else None

    mine = wait_until(f"process report of {client}", reported, timeout_s=30)
    assert mine["status"] == "healthy"
    [process] = mine["processes"]
    return process
