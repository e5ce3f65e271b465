"""Clients that go back after a person's word, or under a number of their own, against a real Prefect server and simulated agents."""

import asyncio

import pytest

from benchmarks.rollout.agents import Behaviour
from db.models import Client, DeployTask, utc_now
from tasks.planning import steering
from tasks.planning.controls import prepare_retry, request_cancel, wants_run
from tests.integration.tasks.conftest import QUICK
from tests.integration.tasks.test_rollouts import answer, paused_run, say, until_held
from tests.integration.tasks.test_upgrade_flow import run, until


def cancel(shop, task_id, running="finish"):
    with shop.database.write() as session:
        return request_cancel(session, session.get_one(DeployTask, task_id), running, "ops", utc_now())


async def held_after_failures(shop, scope, failing="c2", **strategy):
    """One failed in the second wave, and a person is asked; its script back works. Answers the deploy task and its run."""
    shop.client(failing).behaviour = Behaviour(exit_code=1)
    strategy = {**QUICK, "waves": [1, 2, "100%"], **strategy}
    task_id = shop.plan(strategy=strategy, failure_strategy="pause", auto_rollback=scope)
    running = asyncio.create_task(run(task_id))
    await until_held(shop, task_id, "failures")
    shop.client(failing).behaviour = Behaviour()
    return task_id, running


def who_is(shop, task_id, status):
    return {client for client, one in shop.statuses(task_id).items() if one == status}


@pytest.mark.parametrize(("scope", "back"), [("wave", {"c2", "c3"}), ("all", {"c1", "c2", "c3"})])
async def test_cancel_after_too_many_failures_takes_back_whom_auto_rollback_says(quick_shop, scope, back):
    task_id, running = await held_after_failures(quick_shop, scope)
    cancel(quick_shop, task_id)
    state = await running

    assert state.is_failed(), state
    assert who_is(quick_shop, task_id, "rolled_back") == back
    assert who_is(quick_shop, task_id, "success") == {"c1"} - back
    assert len(who_is(quick_shop, task_id, "skipped")) == 5
    task = quick_shop.task(task_id)
    assert task.status == ("rolled_back" if scope == "all" else "failed")
    assert task.status_reason == "1 of 8 clients failed, 0 allowed"
    for client, installation in quick_shop.installations().items():
        assert installation.version == ("1.5" if client in {"c1"} - back else "1.4")


async def test_abort_on_prefect_s_page_takes_back_whom_auto_rollback_says(quick_shop):
    task_id, running = await held_after_failures(quick_shop, "all")
    await answer(await paused_run(quick_shop, task_id), decision="abort", comment="not tonight")
    await running
    assert who_is(quick_shop, task_id, "rolled_back") == {"c1", "c2", "c3"}


async def test_cancel_that_kills_takes_nobody_back(quick_shop):
    task_id, running = await held_after_failures(quick_shop, "all")
    cancel(quick_shop, task_id, "kill")
    assert (await running).is_cancelled()
    assert who_is(quick_shop, task_id, "success") == {"c1", "c3"}
    assert who_is(quick_shop, task_id, "failed") == {"c2"}


async def test_second_cancel_ends_the_way_back_that_the_first_began(quick_shop):
    task_id, running = await held_after_failures(quick_shop, "all", failing="c3", max_parallel=1)
    quick_shop.client("c2").behaviour = Behaviour(lasts_s=4)
    cancel(quick_shop, task_id)
    await until(lambda: len(quick_shop.client("c2").scripts_run) == 2)
    cancel(quick_shop, task_id)
    assert (await running).is_cancelled()
    assert who_is(quick_shop, task_id, "rolled_back") == {"c2"}, "who is on the way is finished"
    assert who_is(quick_shop, task_id, "failed") == {"c3"}
    assert who_is(quick_shop, task_id, "success") == {"c1"}


async def test_too_many_failures_in_the_last_wave_take_back_whom_auto_rollback_says(quick_shop):
    """With `pause` too: nobody is left whom a person could keep back."""
    quick_shop.client("c8").behaviour = Behaviour(exit_code=1)
    task_id = quick_shop.plan(
        strategy={**QUICK, "waves": [2, "100%"]}, failure_strategy="pause", auto_rollback="wave"
    )
    await run(task_id)
    assert who_is(quick_shop, task_id, "success") == {"c1", "c2"}
    assert who_is(quick_shop, task_id, "rolled_back") == {f"c{number}" for number in range(3, 8)}
    assert "cannot take it back to 1.4" in quick_shop.results(task_id)["c8"].error


async def test_cancel_takes_them_back_where_the_run_that_asked_is_gone(quick_shop):
    task_id, dying = await held_after_failures(quick_shop, "all")
    dying.cancel()
    await asyncio.wait({dying})
    task = cancel(quick_shop, task_id)
    assert task.status == "paused", "it takes a run"
    with quick_shop.database.read() as session:
        assert wants_run(session, session.get_one(DeployTask, task_id), utc_now())

    quick_shop.client("c2").behaviour = Behaviour(lasts_s=1)
    running = asyncio.create_task(run(task_id))
    await until(lambda: quick_shop.task(task_id).status == "rolling_back")
    assert quick_shop.task(task_id).hold is None, "nobody is waited for any more"
    assert (await running).name == "Rolled back"
    assert who_is(quick_shop, task_id, "rolled_back") == {"c1", "c2", "c3"}


async def test_cancel_that_kills_ends_it_at_once_where_the_run_that_asked_is_gone(quick_shop):
    task_id, dying = await held_after_failures(quick_shop, "all")
    dying.cancel()
    await asyncio.wait({dying})
    assert cancel(quick_shop, task_id, "kill").status == "cancelled"


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
