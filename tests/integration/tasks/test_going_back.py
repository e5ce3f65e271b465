"""Clients that go back under a number of their own, and none that was repaired, against a real Prefect server and simulated agents."""

from benchmarks.rollout.agents import Behaviour
from db.models import Client, DeployTask, utc_now
from tasks.planning import steering
from tasks.planning.controls import prepare_retry
from tests.integration.tasks.test_rollouts import say
from tests.integration.tasks.test_upgrade_flow import run


async def test_repaired_client_is_not_taken_back(quick_shop):
    """c1 failed, and 1.4 was brought there again: the way back of 1.5 has no business there."""
    quick_shop.client("c1").behaviour = Behaviour(exit_code=1)
    task_id = quick_shop.plan(client_ids=["c1", "c2"], auto_select_clients=False, failure_strategy="continue")
    await run(task_id)
    quick_shop.client("c1").behaviour = Behaviour()
    repair = quick_shop.plan(
        version="1.4", client_ids=["c1"], auto_select_clients=False, redeploy=True, include_failed=True
    )
    assert (await run(repair)).is_completed()
    say(quick_shop, task_id, steering.roll_back)
    await run(task_id)
    assert quick_shop.statuses(task_id) == {"c1": "failed", "c2": "rolled_back"}
    assert len(quick_shop.client("c1").scripts_run) == 2


async def test_rollback_after_a_retry_that_never_began_is_sent_under_an_id_of_its_own(quick_shop):
    """The agent would answer with the rollback that failed before the retry, and nothing would run."""
    client = quick_shop.client("c1")
    client.behaviour = Behaviour(exit_code=1)
    task_id = quick_shop.plan(client_ids=["c1"], auto_select_clients=False)
    await run(task_id)
    say(quick_shop, task_id, steering.roll_back)
    await run(task_id)
    assert client.scripts_run == [f"{task_id}.c1.1.deploy", f"{task_id}.c1.1.back"]
    with quick_shop.database.write() as session:
        task = prepare_retry(session, session.get_one(DeployTask, task_id), None, None, "ops", utc_now())
        task.status = "paused"  # as one that began, and whose run died
        session.get_one(Client, "c1").held_reason = "its disk is full"
    client.behaviour = Behaviour()
    await run(task_id)
    assert quick_shop.results(task_id)["c1"].error.startswith("not tried again")

    with quick_shop.database.write() as session:
        session.get_one(Client, "c1").held_reason = None
    say(quick_shop, task_id, steering.roll_back)
    assert (await run(task_id)).name == "Rolled back"
    assert len(set(client.scripts_run)) == len(client.scripts_run) == 3
    assert quick_shop.installations()["c1"].status == "installed"
