"""Holds, promotions, pauses and going back, against a real Prefect server and simulated agents."""

import asyncio
from datetime import timedelta

import pytest
from prefect.client.orchestration import get_client
from sqlalchemy import select

from agent.wire.executions import ExecutionState
from benchmarks.rollout.agents import Behaviour
from db.errors import TransientDatabaseError
from db.models import AuditEntry, Client, DeployResult, DeployTask, Environment, Freeze, News, utc_now
from tasks import rolling
from tasks.errors import NotAllowedError, PlanningError, WrongStateError
from tasks.planning import steering
from tasks.planning.controls import begin_start, prepare_retry, request_cancel, wants_run
from tasks.planning.lease import acquire_leases
from tasks.standing import read_situation
from tests.integration.tasks.conftest import QUICK
from tests.integration.tasks.test_upgrade_flow import run, until

CANARY = {**QUICK, "waves": ["100%"], "canary_percent": 25}
STEPPED = {**QUICK, "waves": [1, "100%"]}


def say(shop, task_id, word, who="ops", comment=""):
    """What the release API does with it."""
    with shop.database.write() as session:
        word(session, session.get_one(DeployTask, task_id), who, utc_now(), comment)


async def until_held(shop, task_id, kind):
    await until(lambda: (hold := shop.task(task_id).hold) is not None and hold.kind == kind)
    return shop.task(task_id).hold


async def paused_run(shop, task_id):
    """The flow run, once Prefect shows it as paused."""
    async with get_client() as client:
        for _ in range(200):
            flow_run_id = shop.task(task_id).flow_run_id
            if flow_run_id:
                flow_run = await client.read_flow_run(flow_run_id)
                if flow_run.state.is_paused():
                    return flow_run
            await asyncio.sleep(0.1)
    raise AssertionError("Prefect never showed the run as paused")


async def answer(flow_run, **run_input):
    """What Prefect's page does when somebody fills in the form."""
    async with get_client() as client:
        await client.resume_flow_run(flow_run.id, run_input=run_input)


async def test_canary_is_held_and_promoted_through_the_api(shop):
    task_id = shop.plan(strategy=CANARY)
    running = asyncio.create_task(run(task_id))

    hold = await until_held(shop, task_id, "canary")
    assert (hold.wave, shop.task(task_id).status) == (1, "canary")
    assert shop.statuses(task_id) == {"c1": "success", "c2": "pending", "c3": "pending", "c4": "pending"}
    await paused_run(shop, task_id)
    say(shop, task_id, steering.promote, comment="looks good")

    state = await running
    assert state.is_completed(), state.message
    assert set(shop.statuses(task_id).values()) == {"success"}
    with shop.database.read() as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "deploy_task.promote")).one()
        assert (entry.who, entry.detail["comment"]) == ("ops", "looks good")
        news = session.scalars(
            select(News.event).where(News.deploy_task_id == task_id).order_by(News.id)
        ).all()
        assert news == ["started", "needs_person", "done"]


async def test_canary_is_promoted_on_prefect_s_page(quick_shop):
    task_id = quick_shop.plan(strategy=CANARY)
    running = asyncio.create_task(run(task_id))
    await until_held(quick_shop, task_id, "canary")

    await answer(await paused_run(quick_shop, task_id), decision="promote", comment="from the page")

    state = await running
    assert state.is_completed(), state.message
    with quick_shop.database.read() as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "deploy_task.promote")).one()
        assert (entry.who, entry.detail["comment"]) == ("prefect", "from the page")


async def test_canary_promotes_itself(quick_shop):
    strategy = {**CANARY, "canary_duration_s": 1.5, "canary_auto_promote": True}
    task_id = quick_shop.plan(strategy=strategy)
    began = utc_now()
    state = await run(task_id)
    assert state.is_completed(), state.message
    assert utc_now() - began >= timedelta(seconds=1.5)
    assert quick_shop.task(task_id).promoted_waves == 0  # nobody had to


async def test_abort_on_prefect_s_page_starts_nobody_else(quick_shop):
    task_id = quick_shop.plan(strategy={**STEPPED, "pause_after": [1]})
    running = asyncio.create_task(run(task_id))
    await until_held(quick_shop, task_id, "wave")
    await answer(await paused_run(quick_shop, task_id), decision="abort", comment="it is too slow")
    state = await running
    assert state.is_cancelled(), state
    statuses = quick_shop.statuses(task_id)
    assert statuses.pop("c1") == "success"
    assert set(statuses.values()) == {"skipped"}
    with quick_shop.database.read() as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "deploy_task.cancel")).one()
        assert (entry.who, entry.detail) == ("prefect", {"comment": "it is too slow", "running": "finish"})


async def test_approval_is_not_given_on_prefect_s_page_nor_by_the_creator(quick_shop):
    with quick_shop.database.write() as session:
        session.scalars(select(Environment)).one().require_approval = True
    task_id = quick_shop.plan()
    running = asyncio.create_task(run(task_id))
    await until_held(quick_shop, task_id, "approval")

    first = await paused_run(quick_shop, task_id)
    await answer(first, decision="promote")
    await asyncio.sleep(3)
    again = await paused_run(quick_shop, task_id)
    assert again.state.id != first.state.id, "it asks again"
    assert set(quick_shop.statuses(task_id).values()) == {"pending"}
    with pytest.raises(NotAllowedError, match="another token"):
        say(quick_shop, task_id, steering.approve, who="test")

    say(quick_shop, task_id, steering.approve, who="lead")
    state = await running
    assert state.is_completed(), state.message


async def test_approval_that_is_asked_for_no_more_is_not_waited_for(quick_shop):
    with quick_shop.database.write() as session:
        session.scalars(select(Environment)).one().require_approval = True
    task_id = quick_shop.plan()
    running = asyncio.create_task(run(task_id))
    await until_held(quick_shop, task_id, "approval")
    with quick_shop.database.write() as session:
        session.scalars(select(Environment)).one().require_approval = False
    await until(lambda: quick_shop.task(task_id).hold is None)
    state = await running
    assert state.is_completed(), state.message
    assert set(quick_shop.statuses(task_id).values()) == {"success"}


async def test_pause_starts_no_further_client_until_it_is_resumed(quick_shop):
    for client in quick_shop.fleet.clients.values():
        client.behaviour = Behaviour(lasts_s=1.5)
    task_id = quick_shop.plan(strategy={**QUICK, "max_parallel": 2})
    running = asyncio.create_task(run(task_id))
    await until(lambda: "running" in quick_shop.statuses(task_id).values())

    say(quick_shop, task_id, steering.pause)
    await until_held(quick_shop, task_id, "operator")
    statuses = list(quick_shop.statuses(task_id).values())
    assert statuses.count("pending") >= 4
    assert "running" not in statuses
    assert quick_shop.task(task_id).status == "paused"
    say(quick_shop, task_id, steering.resume)

    state = await running
    assert state.is_completed(), state.message
    assert all(len(client.scripts_run) == 1 for client in quick_shop.fleet.clients.values())


async def test_failures_are_held_for_a_person_who_goes_on(quick_shop):
    quick_shop.client("c1").behaviour = Behaviour(exit_code=1)
    task_id = quick_shop.plan(strategy=STEPPED, failure_strategy="pause")
    running = asyncio.create_task(run(task_id))
    hold = await until_held(quick_shop, task_id, "failures")
    assert hold.reason == "1 of 8 clients failed, 0 allowed"
    with pytest.raises(WrongStateError, match="resume it"):
        say(quick_shop, task_id, steering.promote)
    say(quick_shop, task_id, steering.resume)
    state = await running
    assert state.name == "1 of 8 failed"
    assert list(quick_shop.statuses(task_id).values()).count("success") == 7


async def test_failures_are_held_for_a_person_who_answers_on_prefect_s_page(quick_shop):
    quick_shop.client("c1").behaviour = Behaviour(exit_code=1)
    task_id = quick_shop.plan(strategy=STEPPED, failure_strategy="pause")
    running = asyncio.create_task(run(task_id))
    await until_held(quick_shop, task_id, "failures")
    await answer(await paused_run(quick_shop, task_id), decision="promote", comment="c1 is known to be old")
    state = await running
    assert state.name == "1 of 8 failed"
    assert list(quick_shop.statuses(task_id).values()).count("success") == 7


@pytest.mark.parametrize(
    ("scope", "taken_back"),
    [("failed", {"c2"}), ("wave", {"c2", "c3", "c4"}), ("all", {"c1", "c2", "c3", "c4"})],
)
async def test_clients_are_taken_back_by_themselves(shop, scope, taken_back):
    broken = Behaviour(exit_code=1)
    shop.client("c2").behaviour = broken
    task_id = shop.plan(strategy=STEPPED, auto_rollback=scope)

    def heal():  # the script that goes back works
        shop.client("c2").behaviour = Behaviour()
        return True

    running = asyncio.create_task(run(task_id))
    await until(lambda: shop.results(task_id)["c2"].exit_code == 1 and heal())
    state = await running

    statuses = shop.statuses(task_id)
    back = {client for client, status in statuses.items() if status == "rolled_back"}
    assert back == taken_back, (statuses, state.message)
    assert all(statuses[client] == "success" for client in statuses.keys() - taken_back)
    assert shop.task(task_id).status == ("rolled_back" if scope == "all" else "failed")
    assert state.is_failed()
    for client, installation in shop.installations().items():
        assert installation.version == ("1.4" if client in taken_back else "1.5")
        assert installation.status == "installed"
    for client in taken_back:
        result = shop.results(task_id)[client]
        assert result.rollback.status == "success"
        assert result.rollback.evidence.observed_version == "1.4"
        assert shop.client(client).scripts_run == [
            f"{task_id}.{client}.1.deploy",
            f"{task_id}.{client}.1.back",
        ]


async def test_finished_deploy_task_is_rolled_back(shop):
    task_id = shop.plan()
    assert (await run(task_id)).is_completed()
    say(shop, task_id, steering.roll_back, comment="customers complain")
    state = await run(task_id)
    assert state.name == "Rolled back", state
    assert shop.task(task_id).status == "rolled_back"
    assert set(shop.statuses(task_id).values()) == {"rolled_back"}
    assert {one.version for one in shop.installations().values()} == {"1.4"}


async def test_client_that_has_another_version_since_is_not_taken_back(quick_shop):
    task_id = quick_shop.plan()
    assert (await run(task_id)).is_completed()
    quick_shop_installation = quick_shop.installations()["c3"]
    with quick_shop.database.write() as session:
        session.merge(quick_shop_installation).version = "1.6"
    say(quick_shop, task_id, steering.roll_back)
    await run(task_id)
    statuses = quick_shop.statuses(task_id)
    assert statuses.pop("c3") == "success"
    assert set(statuses.values()) == {"rolled_back"}
    assert not quick_shop.client("c3").scripts_run[1:]


async def test_rollback_that_fails_says_so(quick_shop):
    quick_shop.client("c1").behaviour = Behaviour(exit_code=7)
    task_id = quick_shop.plan(strategy=STEPPED, auto_rollback="failed")
    state = await run(task_id)
    result = quick_shop.results(task_id)["c1"]
    assert (result.status, result.rollback.status, result.rollback.exit_code) == ("failed", "failed", 7)
    assert "cannot take it back to 1.4: the script exited 7" in result.error
    assert state.name == "1 of 8 failed"


async def test_rollback_that_failed_is_tried_again_when_it_is_asked_for_again(quick_shop):
    """c1's script back fails, c2's agent is away; whoever is back already is left alone."""
    task_id = quick_shop.plan(strategy=STEPPED)
    assert (await run(task_id)).is_completed()
    quick_shop.client("c1").behaviour = Behaviour(exit_code=7)
    quick_shop.client("c2").behaviour = Behaviour(down=True)
    say(quick_shop, task_id, steering.roll_back)
    assert (await run(task_id)).name == "2 of 8 failed"
    states = {client: row.rollback.status for client, row in quick_shop.results(task_id).items()}
    assert (states.pop("c1"), states.pop("c2")) == ("failed", "unreachable")
    assert set(states.values()) == {"success"}
    for client in ("c1", "c2"):
        quick_shop.client(client).behaviour = Behaviour()

    say(quick_shop, task_id, steering.roll_back)
    assert (await run(task_id)).name == "Rolled back"

    assert set(quick_shop.statuses(task_id).values()) == {"rolled_back"}
    assert {one.version for one in quick_shop.installations().values()} == {"1.4"}
    assert {one.status for one in quick_shop.installations().values()} == {"installed"}
    first, second = f"{task_id}.c1.1.back", f"{task_id}.c1.1.back2"
    assert quick_shop.client("c1").scripts_run == [f"{task_id}.c1.1.deploy", first, second]
    assert quick_shop.client("c2").scripts_run[1:] == [f"{task_id}.c2.1.back2"]
    assert len(quick_shop.client("c3").scripts_run) == 2
    with pytest.raises(PlanningError, match="no client has what it brought"):
        say(quick_shop, task_id, steering.roll_back)


async def test_run_that_dies_while_it_goes_back_is_followed_by_one_that_goes_on(quick_shop):
    task_id = quick_shop.plan()
    assert (await run(task_id)).is_completed()
    for client in quick_shop.fleet.clients.values():
        client.behaviour = Behaviour(lasts_s=2)
    say(quick_shop, task_id, steering.roll_back)
    dying = asyncio.create_task(run(task_id))
    await until(lambda: any(row.rollback for row in quick_shop.results(task_id).values()))
    dying.cancel()
    await asyncio.wait({dying})
    await run(task_id)
    assert set(quick_shop.statuses(task_id).values()) == {"rolled_back"}
    assert all(len(client.scripts_run) == 2 for client in quick_shop.fleet.clients.values())


async def test_run_that_dies_while_it_waits_is_followed_by_one_that_waits_for_the_same(quick_shop):
    task_id = quick_shop.plan(strategy=CANARY)
    dying = asyncio.create_task(run(task_id))
    hold = await until_held(quick_shop, task_id, "canary")
    dying.cancel()
    await asyncio.wait({dying})
    running = asyncio.create_task(run(task_id))
    await until(lambda: quick_shop.task(task_id).status == "canary")
    assert quick_shop.task(task_id).hold.since == hold.since
    say(quick_shop, task_id, steering.promote)
    state = await running
    assert state.is_completed(), state.message
    assert all(len(client.scripts_run) == 1 for client in quick_shop.fleet.clients.values())


async def test_freeze_stops_the_line_between_two_waves(quick_shop):
    quick_shop.client("c1").behaviour = Behaviour(lasts_s=1)
    task_id = quick_shop.plan(strategy=STEPPED)
    running = asyncio.create_task(run(task_id))
    await until(lambda: quick_shop.statuses(task_id)["c1"] == "running")
    with quick_shop.database.write() as session:
        session.add(Freeze(reason="black friday", who="ops"))
    hold = await until_held(quick_shop, task_id, "freeze")
    assert "black friday" in hold.reason
    assert quick_shop.statuses(task_id)["c2"] == "pending"
    with quick_shop.database.write() as session:
        session.delete(session.scalars(select(Freeze)).one())
    state = await running
    assert state.is_completed(), state.message


async def test_freeze_stops_the_line_within_a_wave(quick_shop):
    for client in quick_shop.fleet.clients.values():
        client.behaviour = Behaviour(lasts_s=1.5)
    task_id = quick_shop.plan(strategy={**QUICK, "max_parallel": 2})
    running = asyncio.create_task(run(task_id))
    await until(lambda: "running" in quick_shop.statuses(task_id).values())
    with quick_shop.database.write() as session:
        session.add(Freeze(reason="black friday", who="ops"))
    await until_held(quick_shop, task_id, "freeze")
    statuses = list(quick_shop.statuses(task_id).values())
    assert statuses.count("pending") >= 4
    assert "running" not in statuses
    with quick_shop.database.write() as session:
        session.delete(session.scalars(select(Freeze)).one())
    state = await running
    assert state.is_completed(), state.message
    assert all(len(client.scripts_run) == 1 for client in quick_shop.fleet.clients.values())


async def test_client_that_waits_for_its_agent_is_kept_back_by_a_pause(quick_shop, monkeypatch):
    monkeypatch.setenv("HOIST_RETRY_WINDOW_S", "60")
    quick_shop.client("c1").behaviour = Behaviour(down=True)
    task_id = quick_shop.plan(client_ids=["c1"], auto_select_clients=False)
    running = asyncio.create_task(run(task_id))
    await until(lambda: quick_shop.client("c1").turned_away > 1)
    say(quick_shop, task_id, steering.pause)
    await asyncio.sleep(2.5)  # until the run has seen it
    quick_shop.client("c1").behaviour = Behaviour()
    await until_held(quick_shop, task_id, "operator")
    assert quick_shop.client("c1").scripts_run == []
    assert quick_shop.statuses(task_id) == {"c1": "pending"}
    say(quick_shop, task_id, steering.resume)
    state = await running
    assert state.is_completed(), state.message
    assert quick_shop.statuses(task_id) == {"c1": "success"}


def pause(shop, task_id):
    say(shop, task_id, steering.pause)
    return lambda: say(shop, task_id, steering.resume)


def freeze(shop, _task_id):
    with shop.database.write() as session:
        session.add(Freeze(reason="black friday", who="ops"))

    def lift():
        with shop.database.write() as session:
            session.delete(session.scalars(select(Freeze)).one())

    return lift


@pytest.mark.parametrize("stop", [pause, freeze])
async def test_stop_that_is_over_before_the_next_attempt_lets_the_wave_go_on(quick_shop, monkeypatch, stop):
    monkeypatch.setenv("HOIST_RETRY_WINDOW_S", "60")
    client = quick_shop.client("c1")
    client.behaviour = Behaviour(down=True)
    task_id = quick_shop.plan(strategy=STEPPED, client_ids=["c1", "c2"], auto_select_clients=False)
    running = asyncio.create_task(run(task_id))
    await until(lambda: client.turned_away == 4)  # the next attempt comes in 2.7 s at the earliest
    go_on = stop(quick_shop, task_id)
    await asyncio.sleep(1.8)  # until the run has seen it
    go_on()
    client.behaviour = Behaviour()
    state = await running
    assert state.is_completed(), state.message
    assert quick_shop.statuses(task_id) == {"c1": "success", "c2": "success"}
    assert len(client.scripts_run) == 1


async def test_client_that_goes_offline_before_it_is_taken_back_does_not_end_that_silently(quick_shop):
    """With `offline: skip`, which is for clients on which nothing was done."""
    quick_shop.client("c1").behaviour = Behaviour(exit_code=1, lasts_s=1)
    task_id = quick_shop.plan(
        client_ids=["c1", "c2"],
        auto_select_clients=False,
        auto_rollback="failed",
        strategy={**QUICK, "waves": [1, "100%"], "offline": "skip", "max_failures": 5},
    )
    running = asyncio.create_task(run(task_id))
    executions = quick_shop.client("c1").executions.values()
    await until(lambda: any(one.state.ended for one in executions))
    quick_shop.client("c1").behaviour = Behaviour(down=True)  # the poll that waits is answered all the same
    await running
    results = quick_shop.results(task_id)
    assert results["c2"].status == "success", "the others go on"
    assert (results["c1"].status, results["c1"].rollback.status) == ("failed", "unreachable")
    assert "cannot take it back to 1.4" in results["c1"].error


async def test_offline_client_is_skipped_or_waited_for(quick_shop):
    quick_shop.client("c1").behaviour = Behaviour(down=True)
    task_id = quick_shop.plan(
        strategy={**QUICK, "offline": "skip"}, client_ids=["c1", "c2"], auto_select_clients=False
    )
    state = await run(task_id)
    assert quick_shop.statuses(task_id) == {"c1": "skipped", "c2": "success"}, state.message
    assert state.is_completed()

    waited = quick_shop.plan(
        strategy={**QUICK, "offline": "wait"}, client_ids=["c1"], auto_select_clients=False
    )
    running = asyncio.create_task(run(waited))
    await until(lambda: quick_shop.client("c1").turned_away > 3)
    await asyncio.sleep(2)
    assert quick_shop.statuses(waited) == {"c1": "pending"}
    quick_shop.client("c1").behaviour = Behaviour()
    state = await running
    assert state.is_completed(), state.message
    assert quick_shop.statuses(waited) == {"c1": "success"}


async def test_cancel_ends_a_hold(quick_shop):
    task_id = quick_shop.plan(strategy=CANARY)
    running = asyncio.create_task(run(task_id))
    await until_held(quick_shop, task_id, "canary")
    with quick_shop.database.write() as session:
        request_cancel(session, session.get_one(DeployTask, task_id), "finish", "ops", utc_now())
    state = await running
    assert state.is_cancelled()
    assert quick_shop.task(task_id).status == "cancelled"


async def test_start_is_refused_in_a_freeze(quick_shop):
    task_id = quick_shop.plan()
    with quick_shop.database.write() as session:
        session.add(Freeze(project_id=quick_shop.project_id, reason="audit", who="ops"))
    with (
        pytest.raises(Exception, match="frozen until it is lifted by ops: audit"),
        quick_shop.database.write() as session,
    ):
        begin_start(session, session.get_one(DeployTask, task_id), False, utc_now())


async def test_cancelled_deploy_task_is_rolled_back_too(quick_shop):
    task_id = quick_shop.plan(strategy={**STEPPED, "pause_after": [1]})
    running = asyncio.create_task(run(task_id))
    await until_held(quick_shop, task_id, "wave")
    with quick_shop.database.write() as session:
        request_cancel(session, session.get_one(DeployTask, task_id), "finish", "ops", utc_now())
    assert (await running).is_cancelled()
    say(quick_shop, task_id, steering.roll_back)
    await run(task_id)
    statuses = quick_shop.statuses(task_id)
    assert statuses.pop("c1") == "rolled_back"
    assert set(statuses.values()) == {"skipped"}
    assert quick_shop.task(task_id).status == "rolled_back"
    assert quick_shop.installations()["c1"].version == "1.4"


async def test_retry_of_a_deploy_task_that_was_cancelled_while_it_waited_looks_at_the_fleet_again(quick_shop):
    """What it waited for, and who had paused it, is over with its end."""
    task_id = quick_shop.plan(strategy=CANARY)
    dying = asyncio.create_task(run(task_id))
    await until_held(quick_shop, task_id, "canary")
    dying.cancel()
    await asyncio.wait({dying})
    say(quick_shop, task_id, steering.pause)
    with quick_shop.database.write() as session:
        request_cancel(session, session.get_one(DeployTask, task_id), "finish", "ops", utc_now())
    ended = quick_shop.task(task_id)
    assert (ended.status, ended.hold, ended.paused_by) == ("cancelled", None, None)
    with quick_shop.database.write() as session:
        prepare_retry(session, session.get_one(DeployTask, task_id), None, None, "ops", utc_now())
        session.get_one(Client, "c4").held_reason = "on fire"
    state = await run(task_id)
    assert state.name == "Refused"
    assert "c4 is held" in state.message


async def test_database_that_is_away_for_a_moment_ends_no_run(quick_shop, monkeypatch):
    """The next step is decided from it: it is asked again, as it is where something is written."""
    asked = []

    def away_at_first(session, rollout, now=None):
        asked.append(1)
        if len(asked) == 1:
            raise TransientDatabaseError("it is started again")
        return read_situation(session, rollout, now)

    monkeypatch.setattr(rolling, "read_situation", away_at_first)
    state = await run(quick_shop.plan())
    assert state.is_completed(), state.message
    assert len(asked) > 1


async def test_retry_after_a_rollback_that_was_cancelled_goes_forward(quick_shop):
    quick_shop.client("c8").behaviour = Behaviour(exit_code=1)
    task_id = quick_shop.plan(failure_strategy="continue")
    await run(task_id)
    say(quick_shop, task_id, steering.roll_back)
    with quick_shop.database.write() as session:  # what Prefect's Cancel leaves
        task = session.get_one(DeployTask, task_id)
        task.status, task.finished_at = "cancelled", utc_now()
        prepare_retry(session, task, None, None, "ops", utc_now())
    quick_shop.client("c8").behaviour = Behaviour()
    assert (await run(task_id)).is_completed()
    assert set(quick_shop.statuses(task_id).values()) == {"success"}


async def test_client_that_another_deploy_task_has_changed_meanwhile_is_passed_over_at_its_turn(quick_shop):
    """The run had died, and somebody brought another version to the rest; the one that goes on leaves that alone."""
    task_id = quick_shop.plan(strategy={**STEPPED, "pause_after": [1]})
    dying = asyncio.create_task(run(task_id))
    await until_held(quick_shop, task_id, "wave")
    dying.cancel()
    await asyncio.wait({dying})
    with quick_shop.database.write() as session:
        for client in ("c2", "c3"):
            session.merge(quick_shop.installations()[client]).version = "1.6"
    say(quick_shop, task_id, steering.promote)
    state = await run(task_id)
    results = quick_shop.results(task_id)
    assert {client: row.status for client, row in results.items()} == dict.fromkeys(results, "success") | {
        "c2": "skipped",
        "c3": "skipped",
    }
    assert results["c2"].error == "planned for another state: c2 has 1.6, not 1.4"
    assert state.is_completed()
    assert not quick_shop.client("c2").scripts_run


async def test_rollback_that_was_under_way_when_its_deploy_task_was_cancelled_is_ended_with_it(quick_shop):
    task_id = quick_shop.plan(client_ids=["c1"], auto_select_clients=False)
    assert (await run(task_id)).is_completed()
    client = quick_shop.client("c1")
    client.behaviour = Behaviour(lasts_s=120)
    say(quick_shop, task_id, steering.roll_back)
    dying = asyncio.create_task(run(task_id))
    await until(lambda: len(client.scripts_run) == 2)
    dying.cancel()
    await asyncio.wait({dying})
    with quick_shop.database.write() as session:
        task = request_cancel(session, session.get_one(DeployTask, task_id), "kill", "ops", utc_now())
        assert task.status == "paused", "its agent has to be told first"
        assert wants_run(session, task, utc_now())
    assert (await run(task_id)).is_cancelled()
    row = quick_shop.results(task_id)["c1"]
    assert (row.status, row.rollback.status) == ("failed", "failed")
    assert client.executions[client.scripts_run[1]].state is ExecutionState.CANCELLED


async def test_status_is_running_again_once_who_failed_is_back(quick_shop):
    quick_shop.client("c1").behaviour = Behaviour(exit_code=1)
    quick_shop.client("c2").behaviour = Behaviour(lasts_s=3)
    strategy = {**STEPPED, "max_failures": 3}
    task_id = quick_shop.plan(strategy=strategy, auto_rollback="failed")
    running = asyncio.create_task(run(task_id))
    await until(lambda: quick_shop.client("c2").scripts_run)
    assert quick_shop.task(task_id).status == "running"
    await running


async def test_client_whose_retry_is_passed_over_stays_failed(quick_shop):
    """Its first attempt ran: what that left there is there."""
    quick_shop.client("c8").behaviour = Behaviour(exit_code=1)
    task_id = quick_shop.plan(failure_strategy="continue")
    await run(task_id)
    with quick_shop.database.write() as session:
        task = prepare_retry(session, session.get_one(DeployTask, task_id), None, None, "ops", utc_now())
        task.status = "paused"  # as one that began, and whose run died
        session.get_one(Client, "c8").held_reason = "its disk is full"
    state = await run(task_id)
    row = quick_shop.results(task_id)["c8"]
    assert (row.status, row.ran) == ("failed", True)
    assert row.error == "not tried again: held: its disk is full; its attempt before had failed"
    assert state.name == "1 of 8 failed"


async def test_client_that_was_never_sent_its_script_is_not_started_by_the_run_that_takes_back(quick_shop):
    task_id = quick_shop.plan(strategy=STEPPED)
    with quick_shop.database.write() as session:
        task = session.get_one(DeployTask, task_id)
        acquire_leases(session, task, "a dead run", utc_now() - timedelta(hours=1))
        row = next(row for row in session.query(DeployResult) if row.client_id == "c1")
        row.status, row.attempt, row.execution_id = "running", 1, f"{task_id}.c1.1.deploy"
        row.started_at, task.status, task.started_at = utc_now(), "paused", utc_now()
    say(quick_shop, task_id, steering.roll_back)
    await run(task_id)
    assert quick_shop.statuses(task_id) == dict.fromkeys(quick_shop.statuses(task_id), "skipped")
    assert not any(client.scripts_run for client in quick_shop.fleet.clients.values())


async def test_rolled_back_retry_that_could_not_begin_is_taken_back(quick_shop):
    """Its clients were made pending for another try, which nothing began."""
    quick_shop.client("c8").behaviour = Behaviour(exit_code=1)
    task_id = quick_shop.plan(failure_strategy="continue")
    await run(task_id)
    with quick_shop.database.write() as session:
        prepare_retry(session, session.get_one(DeployTask, task_id), None, None, "ops", utc_now())
        session.get_one(Client, "c8").held_reason = "for a look"
    say(quick_shop, task_id, steering.roll_back)
    assert quick_shop.task(task_id).status == "paused"
    await run(task_id)
    statuses = quick_shop.statuses(task_id)
    assert statuses.pop("c8") == "failed"
    assert set(statuses.values()) == {"rolled_back"}
