"""Clients whose outcome nobody knew, against a real Prefect server and simulated agents: they are asked until it is known."""

import asyncio

import pytest
from sqlalchemy import select

from agent.wire.executions import ExecutionState
from benchmarks.rollout.agents import Behaviour
from db.documents.evidence import EvidenceConfig
from db.models import (
    AuditEntry,
    Client,
    DeployResult,
    DeployTask,
    Installation,
    News,
    Project,
    Version,
    utc_now,
)
from db.queries.deployments import deploying_pairs
from flows.heartbeat import heartbeat
from flows.upgrade import upgrade
from tasks.fleet import heartbeat as round_of
from tasks.planning.controls import prepare_retry
from tasks.planning.steering import roll_back
from tests.builders import create_version


async def beat():
    return (await heartbeat(return_state=True, ask_timeout_s=2)).message


async def leave_unknown(shop):
    """c1's agent goes away while its script runs, and stays away for longer than it is asked; the script ends."""
    shop.client("c1").behaviour = Behaviour(lasts_s=1)
    task_id = shop.plan(client_ids=["c1"], auto_select_clients=False)
    running = asyncio.create_task(upgrade(deploy_task_id=task_id, return_state=True))
    while not shop.client("c1").scripts_run:
        await asyncio.sleep(0.02)
    shop.client("c1").behaviour = Behaviour(down=True)
    await running
    assert shop.statuses(task_id) == {"c1": "unknown"}
    assert shop.task(task_id).status == "failed"
    (execution_id,) = shop.client("c1").scripts_run
    await asyncio.wait_for(shop.client("c1").ended[execution_id].wait(), 10)
    return task_id


async def test_outcome_is_known_once_the_agent_is_back(shop):
    task_id = await leave_unknown(shop)
    assert "outcomes settled" not in await beat()
    assert shop.statuses(task_id) == {"c1": "unknown"}
    shop.client("c1").behaviour = Behaviour()

    assert (await beat()).endswith("; 1 outcomes settled")

    assert shop.statuses(task_id) == {"c1": "success"}
    assert shop.task(task_id).status == "completed"
    assert shop.results(task_id)["c1"].evidence.version_proven
    there = shop.installations()["c1"]
    assert (there.version, there.status) == ("1.5", "installed")
    assert shop.client("c1").monitors[shop.project_id]["version"] == "1.5"
    assert len(shop.client("c1").scripts_run) == 1
    with shop.database.read() as session:
        actions = session.scalars(select(AuditEntry.action).where(AuditEntry.deploy_task_id == task_id)).all()
        titles = session.scalars(select(News.title).where(News.deploy_task_id == task_id)).all()
    assert actions.count("deploy_task.settled") == 1
    assert "shop deploy 1.5 prod: nothing is unknown any more: completed" in titles
    assert "outcomes settled" not in await beat()


async def test_client_that_a_cancelled_flow_run_left_in_flight_is_asked_for_too(quick_shop):
    task_id = await leave_unknown(quick_shop)
    with quick_shop.database.write() as session:
        session.get_one(DeployTask, task_id).status = "cancelled"
        session.query(DeployResult).one().status = "running"
    quick_shop.client("c1").behaviour = Behaviour()
    await beat()
    assert quick_shop.statuses(task_id) == {"c1": "success"}
    assert quick_shop.task(task_id).status == "cancelled"
    assert quick_shop.installations()["c1"].version == "1.5"


@pytest.mark.parametrize(
    ("state", "exit_code", "restarted", "status", "said"),
    [
        (ExecutionState.FAILED, 3, False, "failed", "the script exited 3"),
        (ExecutionState.CANCELLED, None, False, "failed", "cancelled"),
        (ExecutionState.LOST, None, True, "success", None),
        (ExecutionState.LOST, None, False, "failed", "not proven"),
    ],
)
async def test_what_its_agent_says_is_judged_as_in_an_upgrade(
    quick_shop, state, exit_code, restarted, status, said
):
    task_id = await leave_unknown(quick_shop)
    client = quick_shop.client("c1")
    (execution_id,) = client.scripts_run
    update = {"state": state, "exit_code": exit_code}
    client.executions[execution_id] = client.executions[execution_id].model_copy(update=update)
    if not restarted:
        client.version = "1.4"
    client.behaviour = Behaviour()
    await beat()
    result = quick_shop.results(task_id)["c1"]
    assert result.status == status, result.error
    assert said is None or said in result.error
    installed = quick_shop.installations()["c1"]
    assert installed.status == ("installed" if status == "success" else "failed")


async def test_agent_that_never_heard_of_it_ran_nothing(quick_shop):
    task_id = await leave_unknown(quick_shop)
    client = quick_shop.client("c1")
    client.executions.clear()
    client.behaviour, begun, client.fence = Behaviour(), client.fence, 0
    await beat()
    assert client.fence == begun > 0, "a run before this one, that was only frozen, can't send it any more"
    result = quick_shop.results(task_id)["c1"]
    assert (result.status, result.ran) == ("failed", False)
    assert "was never started" in result.error
    there = quick_shop.installations()["c1"]
    assert (there.version, there.status) == ("1.4", "installed")


async def test_what_still_runs_or_is_somebody_elses_stays_unknown(quick_shop):
    task_id = await leave_unknown(quick_shop)
    client = quick_shop.client("c1")
    (execution_id,) = client.scripts_run
    update = {"state": ExecutionState.RUNNING, "exit_code": None, "finished_at": None}
    client.executions[execution_id] = client.executions[execution_id].model_copy(update=update)
    client.behaviour = Behaviour()
    assert "outcomes settled" not in await beat()
    with quick_shop.database.write() as session:
        here = session.get_one(Client, "c1")
        here.url = here.url.replace("/c1", "/c2")
    assert "outcomes settled" not in await beat()
    assert quick_shop.statuses(task_id) == {"c1": "unknown"}


async def test_later_deploy_task_has_the_last_word_of_the_installation(quick_shop):
    first = await leave_unknown(quick_shop)
    quick_shop.client("c1").behaviour = Behaviour(exit_code=4)
    with quick_shop.database.write() as session:
        session.scalars(select(Installation).where(Installation.client_id == "c1")).one().version = "1.4"
    second = quick_shop.plan(client_ids=["c1"], auto_select_clients=False)
    with quick_shop.database.write() as session:  # the first one is still unknown while the second one runs
        session.get_one(DeployTask, first).status = "paused"
    await upgrade(deploy_task_id=second, return_state=True)
    assert quick_shop.installations()["c1"].status == "failed"
    with quick_shop.database.write() as session:
        session.get_one(DeployTask, first).status = "failed"
    await beat()
    with quick_shop.database.read() as session:
        query = select(DeployResult.deploy_task_id, DeployResult.status)
        assert dict(session.execute(query).tuples().all()) == {first: "failed", second: "failed"}
    assert "something else was deployed there" in quick_shop.results(first)["c1"].error
    assert quick_shop.installations()["c1"].deploy_task_id == second


async def test_what_another_deploy_task_brought_proves_nothing_for_the_one_before(quick_shop):
    """Its processes are newer than the execution, and without a probe they would look like its own."""
    with quick_shop.database.write() as session:
        for version in session.scalars(select(Version)):
            version.evidence = EvidenceConfig()
    first = await leave_unknown(quick_shop)
    quick_shop.client("c1").behaviour = Behaviour()
    with quick_shop.database.write() as session:
        project = session.get_one(Project, quick_shop.project_id)
        watched = session.scalars(select(Version).where(Version.version == "1.5")).one().process_config
        create_version(session, project, "1.6", process_config=watched, evidence=EvidenceConfig())
    second = quick_shop.plan(version="1.6", client_ids=["c1"], auto_select_clients=False)
    await upgrade(deploy_task_id=second, return_state=True)
    assert quick_shop.statuses(second) == {"c1": "success"}

    await beat()

    assert quick_shop.statuses(first) == {"c1": "failed"}
    assert "something else was deployed there" in quick_shop.results(first)["c1"].error
    there = quick_shop.installations()["c1"]
    assert (there.version, there.status, there.deploy_task_id) == ("1.6", "installed", second)
    assert quick_shop.client("c1").monitors[quick_shop.project_id]["version"] == "1.6"


async def test_round_that_is_over_leaves_the_rest_to_the_next(quick_shop, monkeypatch):
    task_id = await leave_unknown(quick_shop)
    quick_shop.client("c1").behaviour = Behaviour()
    with monkeypatch.context() as patched:
        patched.setattr(round_of, "ROUND_S", 0.0)
        assert "outcomes settled" not in await beat()
    assert "1 outcomes settled" in await beat()
    assert quick_shop.statuses(task_id) == {"c1": "success"}


async def going_back(shop, behaviour, *, until_sent=True):
    """c1 was upgraded, and its rollback is under way when the deploy task ends: what Prefect's Cancel leaves."""
    task_id = shop.plan(client_ids=["c1"], auto_select_clients=False)
    await upgrade(deploy_task_id=task_id, return_state=True)
    client = shop.client("c1")
    client.behaviour = behaviour
    with shop.database.write() as session:
        roll_back(session, session.get_one(DeployTask, task_id), "ops", utc_now())
    running = asyncio.create_task(upgrade(deploy_task_id=task_id, return_state=True))
    while shop.results(task_id)["c1"].rollback is None or (until_sent and len(client.scripts_run) < 2):
        await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    with shop.database.write() as session:
        task = session.get_one(DeployTask, task_id)
        task.status, task.finished_at = "cancelled", utc_now()
    return task_id


async def test_rollback_that_a_cancelled_flow_run_left_in_flight_is_asked_for_too(shop):
    task_id = await going_back(shop, Behaviour(lasts_s=1))
    client = shop.client("c1")
    with shop.database.read() as session:
        assert ("c1", shop.project_id) in deploying_pairs(session, {"c1"}, utc_now()), "its exit is no alert"
    async with asyncio.timeout(20):  # in the server's own event loop
        while not client.executions[client.scripts_run[1]].state.ended:
            await asyncio.sleep(0.05)
    await beat()
    row = shop.results(task_id)["c1"]
    assert (row.status, row.rollback.status) == ("rolled_back", "success")
    assert shop.installations()["c1"].version == "1.4"
    with shop.database.read() as session:
        assert deploying_pairs(session, {"c1"}, utc_now()) == set()


async def test_rollback_that_was_never_started_can_be_asked_for_again(quick_shop):
    task_id = await going_back(quick_shop, Behaviour(lasts_s=60))
    client = quick_shop.client("c1")
    client.executions.pop(client.scripts_run.pop())
    client.behaviour = Behaviour()
    await beat()
    row = quick_shop.results(task_id)["c1"]
    assert (row.status, row.rollback.status, row.ran) == ("failed", "failed", True)
    with quick_shop.database.write() as session:
        roll_back(session, session.get_one(DeployTask, task_id), "ops", utc_now())
    await upgrade(deploy_task_id=task_id, return_state=True)
    assert quick_shop.statuses(task_id) == {"c1": "rolled_back"}


async def test_attempt_that_was_never_started_undoes_nothing_of_the_one_before(quick_shop):
    """Its script had failed halfway; the attempt after it is the one that the agent never heard of."""
    client = quick_shop.client("c1")
    client.behaviour = Behaviour(exit_code=1)
    task_id = quick_shop.plan(client_ids=["c1"], auto_select_clients=False)
    await upgrade(deploy_task_id=task_id, return_state=True)
    with quick_shop.database.write() as session:
        prepare_retry(session, session.get_one(DeployTask, task_id), None, None, "ops", utc_now())
    client.behaviour = Behaviour(lasts_s=60)
    running = asyncio.create_task(upgrade(deploy_task_id=task_id, return_state=True))
    while len(client.scripts_run) < 2:
        await asyncio.sleep(0.02)
    client.behaviour = Behaviour(down=True)
    await running
    assert quick_shop.statuses(task_id) == {"c1": "unknown"}
    client.executions.pop(client.scripts_run.pop())
    client.behaviour = Behaviour()

    await beat()

    row = quick_shop.results(task_id)["c1"]
    assert (row.status, row.attempt, row.ran) == ("failed", 2, True)
    assert "was never started" in row.error
    with quick_shop.database.write() as session:
        roll_back(session, session.get_one(DeployTask, task_id), "ops", utc_now())
    await upgrade(deploy_task_id=task_id, return_state=True)
    assert quick_shop.statuses(task_id) == {"c1": "rolled_back"}
