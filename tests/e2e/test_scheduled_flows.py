"""The scheduled flows, by the worker that serves them: each does its work, and runs that collide are cancelled."""

import httpx

from deployments.demo.processes import wait_until
from tests.e2e.shop import Shop

PATIENCE_S = 180
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def begin(fleet, name, **parameters):
    """A run of the deployment now; its id."""
    url = fleet.prefect.url
    deployment = httpx.get(f"{url}/deployments/name/{name}", timeout=60).raise_for_status().json()
    address = f"{url}/deployments/{deployment['id']}/create_flow_run"

    def create():
        run = httpx.post(address, json={"parameters": parameters}, timeout=60)
        return None if run.status_code == 503 else run.raise_for_status().json()["id"]  # its database is busy

    return wait_until("flow run", create, timeout_s=PATIENCE_S)


def ended(fleet, run):
    def find():
        found = fleet.flow_run(run)
        return found if found["state_type"] in FINAL else None

    return wait_until(f"end of {run}", find, timeout_s=PATIENCE_S)


def test_runs_that_collide_are_cancelled_and_each_flow_works(fleet):
    runs = [ended(fleet, run) for run in [begin(fleet, "heartbeat/fleet") for _ in range(3)]]
    assert [run["state_type"] for run in runs].count("CANCELLED") >= 2
    begun = {flow: begin(fleet, f"{flow}/fleet") for flow in ("heartbeat", "watch", "retention")}
    for flow, run in begun.items():
        alone = ended(fleet, run)
        if alone["state_type"] == "CANCELLED":  # it met the one of the schedule
            alone = ended(fleet, begin(fleet, f"{flow}/fleet"))
        assert alone["state_type"] == "COMPLETED", alone["state"]
        assert alone["name"].startswith(f"{flow} 20")
        assert {"hoist", "system"} <= set(alone["tags"])


def test_monitor_that_is_missing_is_put_by_the_next_heartbeat(fleet):
    shop = Shop(fleet, ("web-1",))
    shop.put_1_0()
    monitor = f"/v1/monitors/{shop.project}"
    if fleet.agents["web-1"].get(monitor).status_code == 404:  # else the schedule was quicker
        run = ended(fleet, begin(fleet, "heartbeat/fleet"))
        assert run["state_type"] in ("COMPLETED", "CANCELLED"), run["state"]
    wait_until("monitor", lambda: fleet.agents["web-1"].get(monitor).is_success, timeout_s=PATIENCE_S)
    healthy = lambda: shop.api.get(f"/projects/{shop.project}/processes")["clients"][0]["status"] == "healthy"
    wait_until("reports", healthy, timeout_s=PATIENCE_S)
    assert ended(fleet, begin(fleet, "heartbeat/fleet"))["state_type"] in ("COMPLETED", "CANCELLED")
    assert shop.api.get("/clients/web-1")["online"] is True
