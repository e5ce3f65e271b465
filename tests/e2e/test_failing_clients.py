"""Clients that fail, each in its own way: exact results, counts that add up, installations as the contract says."""

import httpx
import pytest

from deployments.demo.environment import free_port
from tests.e2e.shop import STRATEGY, Shop, flow_logs, flow_state


@pytest.fixture
def unreachable_client(fleet):
    """A client whose agent is not there."""
    client_id = f"gone-{free_port()}"
    fleet.api.post("/clients", client_id=client_id, url=f"http://127.0.0.1:{free_port()}", token="x" * 32)
    return client_id


def test_upgrade_of_four_one_unreachable_one_failing_one_held(fleet, unreachable_client):
    shop = Shop(fleet, ("web-1", "web-2", "web-3", unreachable_client))
    shop.put_1_0()
    shop.behave("web-2", "fail")
    before = shop.installations()
    fleet.api.patch("/clients/web-3", held={"reason": "its disk is being replaced"})
    try:
        task = shop.upgrade(strategy=STRATEGY | {"max_failures": "100%"}, failure_strategy="continue")
    finally:
        fleet.api.patch("/clients/web-3", held=None)

    assert task["status"] == "failed"
    assert [(s["client_id"], s["reason"]) for s in task["skipped"]] == [("web-3", "held")]
    counts = {
        name: task[f"{name}_count"]
        for name in ("total", "success", "failed", "pending", "running", "unknown")
    }
    assert counts == {"total": 3, "success": 1, "failed": 2, "pending": 0, "running": 0, "unknown": 0}
    statuses = {client: result["status"] for client, result in shop.results(task["id"]).items()}
    assert statuses == {"web-1": "success", "web-2": "failed", unreachable_client: "unreachable"}

    failed = shop.result(task["id"], "web-2")
    assert failed["exit_code"] == 3
    after = shop.installations()
    assert (after["web-1"]["version"], after["web-1"]["status"]) == ("1.1", "installed")
    assert (after["web-2"]["version"], after["web-2"]["status"]) == ("1.0", "failed")
    assert after["web-2"]["installed_at"] == before["web-2"]["installed_at"]
    assert after["web-3"] == before["web-3"]
    assert after[unreachable_client] == before[unreachable_client]
    assert [shop.serving(client) for client in ("web-1", "web-2", "web-3")] == ["1.1", "1.0", "1.0"]
    assert shop.runs("web-2") == ["install 1.0", "update 1.1"]
    check_flow(fleet, task)


def check_flow(fleet, task):
    state = flow_state(fleet, task["flow_run_id"])
    assert state["type"] == "FAILED"
    assert "1 of 3" in f"{state['name']} {state['message']}"
    log = flow_logs(fleet, task["flow_run_id"], "line 60 of a script that fails")
    assert "line 21 of a script that fails" in log
    assert "line 20 of a script that fails" not in log
    run = fleet.flow_run(task["flow_run_id"])
    assert "1.0 → 1.1" in run["name"]
    filters = {"artifacts": {"flow_run_id": {"any_": [task["flow_run_id"]]}}}
    artifacts = httpx.post(f"{fleet.prefect.url}/artifacts/filter", json=filters, timeout=30).json()
    assert {"progress", "table", "markdown"} <= {artifact["type"] for artifact in artifacts}


def test_exit_code_0_is_not_enough(fleet):
    shop = Shop(fleet)
    shop.put_1_0()
    shop.behave("web-1", "nothing")
    shop.behave("web-2", "old-version")
    shop.behave("web-3", "dies")
    strategy = STRATEGY | {"max_failures": "100%", "stable_for_s": 4, "health_timeout_s": 8}
    task = shop.upgrade(strategy=strategy, failure_strategy="continue")

    results = {client: shop.result(task["id"], client) for client in shop.clients}
    assert {client: result["status"] for client, result in results.items()} == {
        "web-1": "failed",
        "web-2": "failed",
        "web-3": "failed",
        "web-4": "success",
    }
    assert all(result["exit_code"] == 0 for result in results.values())
    verdicts = {client: result["evidence"]["verdict"] for client, result in results.items()}
    assert verdicts["web-1"] == "not_restarted"
    assert verdicts["web-2"] == "wrong_version"
    assert results["web-2"]["evidence"]["observed_version"] == "1.0"
    assert not results["web-3"]["evidence"]["held"]
    installed = shop.installations()
    assert {client: (row["version"], row["status"]) for client, row in installed.items()} == {
        "web-1": ("1.0", "failed"),
        "web-2": ("1.0", "failed"),
        "web-3": ("1.0", "failed"),
        "web-4": ("1.1", "installed"),
    }
