"""Rollouts with everything real: a canary that is promoted, a way back, a start at its time, a flow that was only frozen."""

import contextlib
import os
import signal
from datetime import UTC, datetime, timedelta

import pytest

from agent.wire.problems import LOWER_FENCE
from deployments.demo.processes import wait_until
from deployments.demo.release_api import ApiProblem
from tests.e2e.late_requests import LateRequests
from tests.e2e.shop import STRATEGY, Shop, flow_processes, flow_state


def until_status(shop, task_id, status, timeout_s=90):
    def reached():
        task = shop.api.get(f"/tasks/{task_id}")
        return task if task["status"] == status else None

    return wait_until(f"{status} of the deploy task", reached, shop.fleet.worker, timeout_s)


def test_canary_is_watched_and_promoted_through_the_api(fleet):
    shop = Shop(fleet)
    shop.put_1_0()
    task_id = shop.create(strategy=STRATEGY | {"canary_percent": 25})
    shop.start(task_id)
    task = until_status(shop, task_id, "canary")
    canary = [row["client_id"] for row in shop.results(task_id).values() if row["is_canary"]]
    assert canary == ["web-1"]
    assert [shop.serving(client) for client in shop.clients] == ["1.1", "1.0", "1.0", "1.0"]
    # The deploy task says that it waits before Prefect is asked to pause the run.
    state = lambda: fleet.flow_run(task["flow_run_id"])["state"]["type"]
    wait_until("pause of the flow run", lambda: state() == "PAUSED", fleet.worker, 30)
    shop.api.post(f"/tasks/{task_id}/promote", comment="the shop sells")
    ended = shop.ended(task_id)
    assert (ended["status"], ended["success_count"]) == ("completed", 4)
    assert flow_state(fleet, ended["flow_run_id"])["type"] == "COMPLETED"


def test_failed_upgrade_goes_back_to_what_was_there(fleet):
    shop = Shop(fleet, ("web-1", "web-2", "web-3"))
    shop.put_1_0()
    shop.behave("web-2", "old-version")
    strategy = STRATEGY | {"waves": [1, "100%"], "health_timeout_s": 5}
    task = shop.upgrade(strategy=strategy, auto_rollback="all")
    assert task["status"] == "rolled_back", task
    assert (task["rolled_back_count"], task["total_count"]) == (3, 3)
    for client in shop.clients:
        assert shop.serving(client) == "1.0"
        assert shop.installations()[client]["version"] == "1.0"
        assert shop.runs(client) == ["install 1.0", "update 1.1", "rollback 1.0"]
        assert shop.result(task["id"], client)["rollback"]["evidence"]["observed_version"] == "1.0"


def test_scheduled_deploy_task_starts_by_itself(fleet):
    shop = Shop(fleet, ("web-1",))
    shop.put_1_0()
    due = datetime.now(UTC) + timedelta(seconds=3)
    task_id = shop.create(schedule_type="scheduled", schedule_from=due.isoformat())
    assert shop.api.get(f"/tasks/{task_id}")["status"] == "scheduled"
    ended = shop.ended(task_id)
    assert ended["status"] == "completed"
    assert datetime.fromisoformat(ended["started_at"]) >= due
    assert shop.serving("web-1") == "1.1"


@contextlib.contextmanager
def frozen_flow(fleet, flow_run_id):
    """The flow run's process, stopped; it goes on at the end."""
    pids = wait_until("flow process", lambda: flow_processes(fleet, flow_run_id))
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_flow_that_was_frozen_past_its_lease_can_do_nothing_when_it_wakes(fleet):
    shop = Shop(fleet, ("web-1", "web-2"))
    shop.put_1_0()
    for client in shop.clients:
        shop.behave(client, "slow")
    task_id = shop.create(strategy=STRATEGY | {"waves": [1, "100%"]})
    frozen = shop.start(task_id)["flow_run_id"]
    shop.await_started("web-1")
    with frozen_flow(fleet, frozen):
        assert shop.take_over(task_id) != frozen
        ended = shop.ended(task_id)
    assert (ended["status"], ended["success_count"]) == ("completed", 2)
    before = shop.results(task_id)
    flow_state(fleet, frozen, timeout_s=120)
    assert shop.results(task_id) == before, "the new holder's result stands"
    ends = [one["action"] for one in shop.api.get("/audit", task_id=task_id)]
    assert ends.count("deploy_task.completed") == 1
    assert [shop.runs(client) for client in shop.clients] == [["install 1.0", "update 1.1"]] * 2


@pytest.mark.parametrize("when", ["before the end", "after the end"])
def test_request_of_a_frozen_flow_is_refused_by_the_agent_when_it_arrives(fleet, when):
    shop = Shop(fleet, ("web-1",))
    shop.put_1_0()
    agent = fleet.agents["web-1"]
    way = LateRequests(agent.url)
    shop.api.patch("/clients/web-1", url=way.url, token=agent.token)
    try:
        shop.behave("web-1", "slow")
        task_id = shop.create()
        frozen = shop.start(task_id)["flow_run_id"]
        assert way.kept.wait(90)
        with frozen_flow(fleet, frozen):
            assert shop.take_over(task_id) != frozen
            if when == "before the end":
                shop.await_started("web-1")
                answer = way.let_go()
            ended = shop.ended(task_id)
            if when == "after the end":
                answer = way.let_go()
    finally:
        way.close()
        shop.api.patch("/clients/web-1", url=agent.url, token=agent.token)
    assert (answer.status_code, answer.json()["title"]) == (409, LOWER_FENCE)
    assert (ended["status"], ended["success_count"]) == ("completed", 1)
    before = shop.results(task_id)
    flow_state(fleet, frozen, timeout_s=120)
    assert shop.results(task_id) == before, "the new holder's result stands"
    assert shop.runs("web-1") == ["install 1.0", "update 1.1"]


def test_deploy_task_that_has_to_be_approved_waits_for_another_token(fleet):
    shop = Shop(fleet, ("web-1",))
    shop.put_1_0()
    shop.api.patch(f"/projects/{shop.project}/environments/{shop.environment}", require_approval=True)
    task_id = shop.create()
    shop.start(task_id)
    task = until_status(shop, task_id, "paused")
    assert task["hold"]["kind"] == "approval"
    with pytest.raises(ApiProblem, match="another token"):
        shop.api.post(f"/tasks/{task_id}/approve")
    shop.api.post(f"/tasks/{task_id}/cancel")
    assert shop.ended(task_id)["status"] == "cancelled"
    assert shop.serving("web-1") == "1.0"
