"""What dies in the middle of an upgrade: the flow's process, Prefect's server; and two who want the same at once."""

import os
import signal

import httpx
import pytest

from deployments.demo.processes import wait_until
from deployments.demo.release_api import ApiProblem
from tests.e2e.shop import STRATEGY, Shop, flow_processes, flow_state, pause


def test_second_upgrade_of_the_same_environment_is_refused_naming_the_first(fleet):
    shop = Shop(fleet, ("web-1", "web-2"))
    shop.put_1_0()
    shop.behave("web-1", "slow")
    first = shop.create(client_ids=["web-1"], auto_select_clients=False)
    second = shop.create(client_ids=["web-2"], auto_select_clients=False)
    shop.start(first)
    shop.await_started("web-1")
    with pytest.raises(ApiProblem) as refused:
        shop.start(second)
    assert refused.value.status == 409
    assert first in str(refused.value.problem)
    assert shop.ended(first)["status"] == "completed"
    assert shop.runs("web-2") == ["install 1.0"]


def kill_flow(fleet, flow_run_id):
    """SIGKILL the process that runs the flow, once."""
    pids = wait_until("flow process", lambda: flow_processes(fleet, flow_run_id))
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def interrupted_upgrade(fleet):
    """An upgrade in two waves whose flow was killed in the middle of the first."""
    shop = Shop(fleet)
    shop.put_1_0()
    for client in shop.clients:
        shop.behave(client, "slow")
    task_id = shop.create(strategy=STRATEGY | {"waves": [2, "100%"]})
    flow_run_id = shop.start(task_id)["flow_run_id"]
    plan = shop.api.get(f"/tasks/{task_id}")["plan"]
    shop.await_started(*plan["waves"][0])
    kill_flow(fleet, flow_run_id)
    return shop, task_id, flow_run_id


def check_each_ran_once(shop, task_id):
    task = shop.ended(task_id)
    assert (task["status"], task["success_count"], task["total_count"]) == ("completed", 4, 4)
    for client in shop.clients:
        assert shop.runs(client) == ["install 1.0", "update 1.1"]
        assert shop.serving(client) == "1.1"
        assert shop.result(task_id, client)["attempt"] == 1


def test_another_run_takes_over_when_the_lease_of_a_killed_one_has_run_out(fleet):
    shop, task_id, killed = interrupted_upgrade(fleet)

    assert shop.take_over(task_id) != killed
    check_each_ran_once(shop, task_id)


def test_a_worker_that_is_killed_with_its_run_leaves_neither_running(fleet):
    """Nobody is left to write an end: the release API pauses the deploy task, Prefect's automation ends the run."""
    shop = Shop(fleet, ("web-1", "web-2"))
    shop.put_1_0()
    for client in shop.clients:
        shop.behave(client, "slow")
    task_id = shop.create(strategy=STRATEGY | {"waves": [1, "100%"]})
    flow_run_id = shop.start(task_id)["flow_run_id"]
    shop.await_started(shop.api.get(f"/tasks/{task_id}")["plan"]["waves"][0][0])
    fleet.worker.kill()
    try:
        kill_flow(fleet, flow_run_id)

        def paused():
            task = shop.api.get(f"/tasks/{task_id}")
            return task if task["status"] == "paused" else None

        assert (
            "start it again" in wait_until("pause of the deploy task", paused, timeout_s=90)["status_reason"]
        )
    finally:
        fleet.worker.start()
    shop.start(task_id)
    task = shop.ended(task_id)
    assert (task["status"], task["success_count"]) == ("completed", 2)
    assert [shop.runs(client) for client in shop.clients] == [["install 1.0", "update 1.1"]] * 2
    assert flow_state(fleet, flow_run_id, timeout_s=240)["type"] == "CRASHED"


def test_killed_run_that_is_retried_goes_on_where_it_stopped(fleet):
    shop, task_id, flow_run_id = interrupted_upgrade(fleet)
    flow_state(fleet, flow_run_id)
    body = {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}, "force": True}
    url = f"{fleet.prefect.url}/flow_runs/{flow_run_id}/set_state"
    httpx.post(url, json=body, timeout=30).raise_for_status()
    check_each_ran_once(shop, task_id)


def test_upgrade_completes_although_prefects_server_is_away_for_20_s(fleet):
    shop = Shop(fleet, ("web-1", "web-2", "web-3"))
    shop.put_1_0()
    for client in shop.clients:
        shop.behave(client, "slow")
    task_id = shop.create(strategy=STRATEGY | {"waves": [1, "100%"]})
    shop.start(task_id)
    shop.await_started(shop.api.get(f"/tasks/{task_id}")["plan"]["waves"][0][0])
    fleet.prefect.stop()
    try:
        pause(20)
    finally:
        fleet.prefect.start()
        fleet.prefect.wait_until_up()
    task = shop.ended(task_id)
    assert (task["status"], task["success_count"]) == ("completed", 3)
    assert [shop.serving(client) for client in shop.clients] == ["1.1"] * 3
    assert flow_state(fleet, task["flow_run_id"])["type"] == "COMPLETED"


def test_cancel_with_kill_ends_what_runs_and_starts_no_further_client(fleet):
    shop = Shop(fleet, ("web-1", "web-2"))
    shop.put_1_0()
    for client in shop.clients:
        shop.behave(client, "slow")
    task_id = shop.create(strategy=STRATEGY | {"waves": [1]}, env={"SLOW_S": "300"})
    shop.start(task_id)
    [running], [waiting] = shop.api.get(f"/tasks/{task_id}")["plan"]["waves"]
    shop.await_started(running)
    shop.api.post(f"/tasks/{task_id}/cancel", running="kill")
    task = shop.ended(task_id)
    assert task["status"] == "cancelled"
    statuses = {client: result["status"] for client, result in shop.results(task_id).items()}
    assert statuses == {running: "failed", waiting: "skipped"}
    assert shop.runs(waiting) == ["install 1.0"]
    execution = fleet.agents[running].get(f"/v1/executions/{task_id}.{running}.1.update").json()
    assert execution["state"] == "cancelled"
