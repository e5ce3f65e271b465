"""The flow `upgrade`, run for real against a Prefect server and simulated agents: exact results, each way it can go."""

import asyncio
from datetime import timedelta

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from sqlalchemy import select

from agent.client import AgentApi, agent_http_client
from agent.errors import PermanentAgentError
from agent.wire.executions import ExecuteRequest
from benchmarks.rollout.agents import Behaviour
from db.documents.strategy import Strategy
from db.models import Client, DeployResult, DeployTask, Lease, Project, Version, utc_now
from db.queries.clients import delete_client
from flows.upgrade import upgrade
from tasks.planning.controls import prepare_retry, request_cancel, wants_run
from tasks.planning.lease import acquire_leases
from tasks.planning.reconciling import due_deploy_tasks
from tests.integration.tasks.conftest import QUICK

OTHERS = tuple(f"c{number}" for number in range(2, 9))


async def run(deploy_task_id=None, **values):
    return await upgrade(deploy_task_id=deploy_task_id, return_state=True, **values)


def client_url(shop, client_id):
    with shop.database.read() as session:
        return session.get_one(Client, client_id).url


def request_of(execution_id, project_id):
    """What a run sends for a client."""
    return ExecuteRequest(
        execution_id=execution_id,
        release_id="r",
        project_id=project_id,
        target_id="t",
        operation="update",
        version="1.5",
        script="true",
        work_dir="/srv",
    )


async def until(condition, timeout_s=60.0):
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "nothing happened in time"
        await asyncio.sleep(0.05)


async def test_unreachable_failing_held_and_good_client(shop):
    shop.client("c1").behaviour = Behaviour(down=True)
    shop.client("c2").behaviour = Behaviour(exit_code=3, output="\n".join(f"line {n}" for n in range(60)))
    with shop.database.write() as session:
        session.get_one(Client, "c3").held_reason = "its disk is full"
    task_id = shop.plan(failure_strategy="continue")

    state = await run(task_id)

    assert state.is_failed()
    assert state.name == "2 of 3 failed"
    assert state.message == "1 of 3 upgraded, 1 failed, 1 unreachable"
    assert shop.statuses(task_id) == {"c1": "unreachable", "c2": "failed", "c4": "success"}
    results = shop.results(task_id)
    assert results["c2"].exit_code == 3
    assert results["c2"].output.endswith("line 59")
    assert results["c4"].evidence.version_proven
    assert results["c4"].evidence.observed_version == "1.5"
    assert [one.client_id for one in shop.task(task_id).skipped] == ["c3"]
    assert shop.task(task_id).status == "failed"
    found = {
        name: (row.version, row.previous_version, row.status) for name, row in shop.installations().items()
    }
    assert found == {
        "c1": ("1.4", None, "installed"),
        "c2": ("1.4", None, "failed"),
        "c3": ("1.4", None, "installed"),
        "c4": ("1.5", "1.4", "installed"),
    }
    assert shop.client("c4").monitors[shop.project_id]["version"] == "1.5"
    assert shop.client("c2").scripts_run == [f"{task_id}.c2.1.deploy"]
    with shop.database.read() as session:
        assert all(lease.holder is None for lease in session.scalars(select(Lease)))
    await check_run_shows(state, task_id)


async def check_run_shows(state, task_id):
    """The run's name, tags and artifacts, and the last 40 lines of the script in its task run's log."""
    flow_run_id = state.state_details.flow_run_id
    async with get_client() as client:
        flow_run = await client.read_flow_run(flow_run_id)
        assert flow_run.name == "shop 1.4 → 1.5 prod"
        assert {"project:shop", "environment:prod"} <= set(flow_run.tags)
        answer = await client._client.post(
            "/artifacts/filter", json={"flow_runs": {"id": {"any_": [str(flow_run_id)]}}}
        )
        artifacts = {one["key"]: one for one in answer.json()}
        assert task_id in artifacts[f"upgrade-deploy-task-{task_id}"]["data"]
        assert artifacts[f"upgrade-progress-{task_id}"]["data"] == 100.0
        assert '"c2"' in artifacts[f"upgrade-clients-{task_id}"]["data"].split("}")[0]

        async def logged():
            filtering = {"logs": {"flow_run_id": {"any_": [str(flow_run_id)]}}}
            answer = await client._client.post("/logs/filter", json=filtering)
            return "\n".join(one["message"] for one in answer.json() if one["task_run_id"])

        for _ in range(300):
            if "line 59" in await logged():
                break
            await asyncio.sleep(0.1)
        text = await logged()
        assert "line 20\n" in text
        assert "line 19\n" not in text


async def test_first_failure_stops_the_rest(quick_shop):
    quick_shop.client("c1").behaviour = Behaviour(exit_code=1)
    task_id = quick_shop.plan(strategy={**QUICK, "waves": [1, "100%"]})

    state = await run(task_id)

    assert state.name == "1 of 8 failed"
    statuses = quick_shop.statuses(task_id)
    assert statuses.pop("c1") == "failed"
    assert set(statuses.values()) == {"skipped"}
    assert not quick_shop.client("c2").scripts_run
    assert "1 of 8 clients failed, 0 allowed" in quick_shop.results(task_id)["c2"].error


async def test_unproven_clients_fail(quick_shop):
    quick_shop.client("c1").behaviour = Behaviour(restarts=False)
    quick_shop.client("c2").behaviour = Behaviour(answers_old_version=True)
    quick_shop.client("c3").behaviour = Behaviour(dies=True)
    strategy = {**QUICK, "stable_for_s": 0.5}
    task_id = quick_shop.plan(strategy=strategy, failure_strategy="continue")

    await run(task_id)

    results = quick_shop.results(task_id)
    verdicts = {name: results[name].evidence.verdict for name in ("c1", "c2", "c3", "c4")}
    assert verdicts == {
        "c1": "not_restarted",
        "c2": "wrong_version",
        "c3": "identity_changed",
        "c4": "held",
    }
    assert [results[name].status for name in ("c1", "c2", "c3", "c4")] == ["failed"] * 3 + ["success"]
    assert quick_shop.installations()["c2"].status == "failed"
    reports = {name: [one.version for one in quick_shop.client(name).reports] for name in ("c1", "c4")}
    assert reports == {"c1": ["1.4"], "c4": []}, (
        "a failed client reports at once, by the rules of the version that it is recorded to have; the others' monitors do"
    )


async def test_retry_of_the_failed_is_a_new_attempt(quick_shop):
    quick_shop.client("c2").behaviour = Behaviour(exit_code=1)
    task_id = quick_shop.plan(failure_strategy="continue")
    await run(task_id)
    quick_shop.client("c2").behaviour = Behaviour()
    with quick_shop.database.write() as session:
        prepare_retry(session, session.get_one(DeployTask, task_id), None, None, "test", utc_now())

    state = await run(task_id)

    assert state.is_completed()
    assert quick_shop.task(task_id).status == "completed"
    assert quick_shop.client("c2").scripts_run == [f"{task_id}.c2.1.deploy", f"{task_id}.c2.2.deploy"]
    assert quick_shop.client("c1").scripts_run == [f"{task_id}.c1.1.deploy"]


async def test_retry_of_a_subset_forgives_the_failures_that_it_leaves(quick_shop):
    for name in ("c1", "c2"):
        quick_shop.client(name).behaviour = Behaviour(exit_code=1)
    task_id = quick_shop.plan(failure_strategy="continue")
    await run(task_id)
    with quick_shop.database.write() as session:
        task = session.get_one(DeployTask, task_id)
        task.failure_strategy = "abort"
        session.scalars(select(DeployResult).where(DeployResult.client_id == "c3")).one().status = "unknown"
        prepare_retry(session, task, ["c2"], None, "test", utc_now())
    quick_shop.client("c2").behaviour = Behaviour()

    state = await run(task_id)

    assert state.message == "6 of 8 upgraded, 1 failed, 1 unknown"
    statuses = quick_shop.statuses(task_id)
    assert (statuses["c1"], statuses["c2"], statuses["c3"]) == ("failed", "success", "unknown")
    assert len(quick_shop.client("c2").scripts_run) == 2


async def test_failures_of_the_retry_itself_count(quick_shop):
    for name in ("c1", "c2", "c3", "c4"):
        quick_shop.client(name).behaviour = Behaviour(exit_code=1)
    strategy = {**QUICK, "waves": [1], "max_parallel": 1}
    task_id = quick_shop.plan(strategy=strategy, failure_strategy="continue")
    await run(task_id)
    with quick_shop.database.write() as session:
        task = session.get_one(DeployTask, task_id)
        task.failure_strategy = "abort"
        prepare_retry(session, task, ["c2", "c3", "c4"], None, "test", utc_now())

    await run(task_id)

    results = quick_shop.results(task_id)
    assert [results[name].status for name in ("c1", "c2", "c3", "c4")] == ["failed"] * 4
    assert results["c2"].error == "the script exited 1"
    for name in ("c3", "c4"):  # the retry ended before their turn: they are as their first attempt left them
        assert results[name].error.startswith("not tried again: ")
        assert len(quick_shop.client(name).scripts_run) == 1


async def test_who_waits_for_its_agent_is_not_started_after_a_cancel(quick_shop, monkeypatch):
    monkeypatch.setenv("HOIST_RETRY_WINDOW_S", "360")  # its second attempt comes after three seconds
    quick_shop.client("c1").behaviour = Behaviour(down=True)
    task_id = quick_shop.plan(strategy={**QUICK, "waves": [1]})
    running = asyncio.create_task(run(task_id))
    await until(lambda: quick_shop.client("c1").turned_away)
    quick_shop.client("c1").behaviour = Behaviour()
    with quick_shop.database.write() as session:
        request_cancel(session, session.get_one(DeployTask, task_id), "finish", "test", utc_now())

    state = await running

    assert state.is_cancelled()
    assert set(quick_shop.statuses(task_id).values()) == {"skipped"}
    assert not quick_shop.client("c1").scripts_run


async def test_full_disk_is_a_failure_that_ran_nothing(quick_shop):
    quick_shop.client("c1").behaviour = Behaviour(full_disk=True)
    task_id = quick_shop.plan(failure_strategy="continue")

    await run(task_id)

    assert quick_shop.statuses(task_id)["c1"] == "failed"
    assert "the disk is full" in quick_shop.results(task_id)["c1"].error
    assert quick_shop.installations()["c1"].status == "installed"


async def test_cancel_of_an_interrupted_task_ends_what_still_runs(quick_shop):
    """The run is gone, its scripts are not: the run that the cancel begins asks their agents, and starts nobody."""
    for client in quick_shop.fleet.clients.values():
        client.behaviour = Behaviour(lasts_s=120)
    task_id = quick_shop.plan(strategy={**QUICK, "max_parallel": 2})
    dead = asyncio.create_task(run(task_id))
    await until(lambda: sum(len(client.scripts_run) for client in quick_shop.fleet.clients.values()) == 2)
    dead.cancel()
    await asyncio.gather(dead, return_exceptions=True)
    with quick_shop.database.write() as session:
        task = request_cancel(session, session.get_one(DeployTask, task_id), "kill", "test", utc_now())
        assert wants_run(session, task, utc_now())

    state = await run(task_id)

    assert state.is_cancelled()
    assert quick_shop.task(task_id).status == "cancelled"
    assert sorted(quick_shop.statuses(task_id).values()) == ["failed"] * 2 + ["skipped"] * 6
    assert sum(len(client.scripts_run) for client in quick_shop.fleet.clients.values()) == 2


async def test_cancel_kills_what_runs_and_starts_nothing_else(quick_shop):
    for client in quick_shop.fleet.clients.values():
        client.behaviour = Behaviour(lasts_s=120)
    task_id = quick_shop.plan(strategy={**QUICK, "max_parallel": 2})
    running = asyncio.create_task(run(task_id))
    await until(lambda: sum(len(client.scripts_run) for client in quick_shop.fleet.clients.values()) == 2)
    with quick_shop.database.write() as session:
        request_cancel(session, session.get_one(DeployTask, task_id), "kill", "test", utc_now())

    state = await running

    assert state.is_cancelled()
    assert quick_shop.task(task_id).status == "cancelled"
    statuses = sorted(quick_shop.statuses(task_id).values())
    assert statuses == ["failed"] * 2 + ["skipped"] * 6


async def test_second_upgrade_of_the_same_environment_is_refused(quick_shop):
    for client in quick_shop.fleet.clients.values():
        client.behaviour = Behaviour(lasts_s=120)
    first, second = quick_shop.plan(), quick_shop.plan()
    running = asyncio.create_task(run(first))
    await until(lambda: quick_shop.task(first).status == "running")

    refused = await run(second)

    assert refused.is_failed()
    assert first in refused.message
    assert quick_shop.task(second).status == "pending"
    with quick_shop.database.write() as session:
        request_cancel(session, session.get_one(DeployTask, first), "kill", "test", utc_now())
    assert (await running).is_cancelled()


async def test_new_run_asks_for_what_a_dead_run_had_started(quick_shop):
    """The first run's process is gone without a word: its lease has run out, one script is still running."""
    for client in quick_shop.fleet.clients.values():
        client.behaviour = Behaviour(lasts_s=3)
    task_id = quick_shop.plan(strategy={**QUICK, "waves": [2, "100%"]})
    dead = asyncio.create_task(run(task_id))
    await until(lambda: quick_shop.client("c1").scripts_run)
    dead.cancel()
    await asyncio.gather(dead, return_exceptions=True)
    assert quick_shop.task(task_id).status == "paused"

    state = await run(task_id)

    assert state.is_completed()
    assert set(quick_shop.statuses(task_id).values()) == {"success"}
    assert all(len(client.scripts_run) == 1 for client in quick_shop.fleet.clients.values())


async def test_who_was_in_flight_is_finished_although_another_client_failed(quick_shop):
    quick_shop.client("c1").behaviour = Behaviour(lasts_s=3)
    quick_shop.client("c2").behaviour = Behaviour(exit_code=1)
    task_id = quick_shop.plan(strategy={**QUICK, "waves": [2, "100%"]})
    dead = asyncio.create_task(run(task_id))
    await until(lambda: quick_shop.statuses(task_id)["c2"] == "failed")
    assert quick_shop.statuses(task_id)["c1"] == "running"
    dead.cancel()
    await asyncio.gather(dead, return_exceptions=True)

    state = await run(task_id)

    assert state.name == "1 of 8 failed"
    statuses = quick_shop.statuses(task_id)
    assert (statuses.pop("c1"), statuses.pop("c2")) == ("success", "failed")
    assert set(statuses.values()) == {"skipped"}
    assert len(quick_shop.client("c1").scripts_run) == 1


async def test_run_that_lost_its_lease_writes_nothing_more(quick_shop):
    """As after a pause of its whole machine: another run has the lease, and the first doesn't know yet."""
    for client in quick_shop.fleet.clients.values():
        client.behaviour = Behaviour(lasts_s=3)
    task_id = quick_shop.plan()
    running = asyncio.create_task(run(task_id))
    await until(lambda: all(client.scripts_run for client in quick_shop.fleet.clients.values()))
    with quick_shop.database.write() as session:
        lease = session.scalars(select(Lease)).one()
        lease.holder, lease.fence = "another run", lease.fence + 1

    state = await running

    assert state.is_failed()
    assert state.name == "Lease lost"
    assert set(quick_shop.statuses(task_id).values()) == {"running"}
    assert quick_shop.task(task_id).status == "running"


async def test_agent_that_has_seen_a_higher_fence_stops_the_whole_run(quick_shop):
    """The run was only frozen: another one has been at c1 meanwhile, and this one's database does not say so yet."""
    client = quick_shop.client("c1")
    client.fence = 1000
    task_id = quick_shop.plan(strategy={**QUICK, "waves": [1, "100%"]})

    state = await run(task_id)

    assert (state.type, state.name) == (StateType.FAILED, "Lease lost")
    assert "another run acts on c1 now" in state.message
    assert quick_shop.statuses(task_id) == {"c1": "running"} | dict.fromkeys(OTHERS, "pending")
    assert not any(one.scripts_run for one in quick_shop.fleet.clients.values())


async def test_what_a_frozen_run_has_yet_to_send_is_refused_where_its_task_was_cancelled(quick_shop):
    """It wrote down that c1 begins, and stopped there; the run that the cancel begins finds nothing at the agent."""
    client = quick_shop.client("c1")
    task_id = quick_shop.plan(client_ids=["c1"], auto_select_clients=False)
    never = f"{task_id}.c1.1.deploy"
    with quick_shop.database.write() as session:
        task = session.get_one(DeployTask, task_id)
        fence = acquire_leases(session, task, "the frozen run", utc_now() - timedelta(hours=1))
        row = session.scalars(select(DeployResult)).one()
        row.status, row.attempt, row.execution_id, row.started_at = "running", 1, never, utc_now()
        task.status = "running"
        request_cancel(session, task, "finish", "test", utc_now())

    assert (await run(task_id)).is_cancelled()

    assert quick_shop.statuses(task_id) == {"c1": "skipped"}
    assert client.fence > fence, "the agent was told that another run has the lease"
    async with agent_http_client() as http:
        frozen = AgentApi(http, client_url(quick_shop, "c1"), "token", client_id="c1", fence=fence)
        with pytest.raises(PermanentAgentError, match="409"):
            await frozen.execute(request_of(never, quick_shop.project_id))
    assert client.scripts_run == []


async def test_form_starts_an_upgrade_and_its_mistakes_are_one_line(quick_shop):
    form = {"project": "shop", "version": "1.5", "environment": "prod", "waves": "1, 100%", "stable_for_s": 0}
    shown = await run(request=form, dry_run=True)
    assert shown.is_completed()
    with quick_shop.database.read() as session:
        assert session.scalars(select(DeployTask)).all() == []

    assert (await run(request=form)).is_completed()
    assert {row.version for row in quick_shop.installations().values()} == {"1.5"}

    for wrong, says in (
        ({**form, "project": "nobody"}, "nobody"),
        ({**form, "waves": "0%"}, "waves"),
        (form, "already at version"),
    ):
        state = await run(request=wrong)
        assert state.is_failed()
        assert says in state.message
        assert "\n" not in state.message
    assert (await run()).message == "cannot start: give either deploy_task_id or request, and not both"


async def test_form_with_a_time_only_writes_down_what_starts_then(quick_shop):
    time = (utc_now() + timedelta(hours=2)).replace(microsecond=0)
    asked = {"project": "shop", "version": "1.5", "schedule_from": time.isoformat(), "stable_for_s": 0}

    state = await run(request=asked)

    assert (state.type, state.name) == (StateType.COMPLETED, "Scheduled")
    assert f"{time:%Y-%m-%d %H:%M} UTC" in state.message
    with quick_shop.database.read() as session:
        task = session.scalars(select(DeployTask)).one()
        assert (task.status, task.request.schedule_from) == ("scheduled", time)
        assert due_deploy_tasks(session, time - timedelta(seconds=1)) == []
        assert due_deploy_tasks(session, time) == [task.id], "nobody's lease is in the way"
    assert not any(one.scripts_run for one in quick_shop.fleet.clients.values())


async def test_large_fleets_go_in_shards_and_only_failures_get_task_runs(quick_shop, monkeypatch):
    monkeypatch.setenv("HOIST_SHARD_ABOVE", "2")
    quick_shop.client("c1").behaviour = Behaviour(down=True)
    quick_shop.client("c2").behaviour = Behaviour(exit_code=3)
    task_id = quick_shop.plan(failure_strategy="continue")

    state = await run(task_id)

    assert state.message == "6 of 8 upgraded, 1 failed, 1 unreachable"
    names = await task_run_names(state.state_details.flow_run_id, {"c1", "c2"})
    assert {"c1", "c2"} <= names
    assert not {"c3", "c4"} & names


async def task_run_names(flow_run_id, wanted):
    async with get_client() as client:
        names = set()
        for _ in range(300):
            filtering = {"flow_runs": {"id": {"any_": [str(flow_run_id)]}}}
            answer = await client._client.post("/task_runs/filter", json=filtering)
            names = {one["name"] for one in answer.json()}
            if wanted <= names:
                break
            await asyncio.sleep(0.1)
        return names


async def test_retry_goes_on_although_a_client_that_succeeded_is_deregistered(quick_shop):
    quick_shop.client("c2").behaviour = Behaviour(exit_code=1)
    task_id = quick_shop.plan(client_ids=["c1", "c2"], auto_select_clients=False, failure_strategy="continue")
    await run(task_id)
    quick_shop.client("c2").behaviour = Behaviour()
    with quick_shop.database.write() as session:
        delete_client(session, "c1")
        prepare_retry(session, session.get_one(DeployTask, task_id), None, None, "test", utc_now())
    state = await run(task_id)
    assert state.is_completed(), state.message
    assert quick_shop.statuses(task_id) == {"c1": "success", "c2": "success"}


async def test_client_that_is_put_on_hold_meanwhile_is_passed_over(shop):
    shop.client("c1").behaviour = Behaviour(lasts_s=2)
    task_id = shop.plan(strategy={**QUICK, "waves": [1, "100%"]})
    running = asyncio.create_task(run(task_id))
    await until(lambda: shop.statuses(task_id)["c1"] == "running")
    with shop.database.write() as session:
        session.get_one(Client, "c3").held_reason = "on fire"
    state = await running
    assert state.is_completed(), state.message
    assert shop.statuses(task_id) == {"c1": "success", "c2": "success", "c3": "skipped", "c4": "success"}
    assert shop.results(task_id)["c3"].error == "held: on fire"
    assert not shop.client("c3").scripts_run


async def test_start_is_refused_where_how_the_script_runs_is_another_one_now(quick_shop):
    task_id = quick_shop.plan()
    with quick_shop.database.write() as session:
        version = session.scalars(select(Version).where(Version.version == "1.5")).one()
        version.env = {"DEBUG": "1"}
    state = await run(task_id)
    assert state.name == "Refused"
    assert "c1's update_script runs" in state.message
    assert not quick_shop.client("c1").scripts_run


@pytest.mark.parametrize("shard_above", ["500", "1"])
async def test_agent_that_answers_nonsense_ends_no_other_client_s_upgrade(shop, monkeypatch, shard_above):
    """NULs, which PostgreSQL takes nowhere; a success with an exit code; an answer about another execution."""
    monkeypatch.setenv("HOIST_SHARD_ABOVE", shard_above)
    shop.client("c1").behaviour = Behaviour(nuls=True)
    shop.client("c2").behaviour = Behaviour(lying_exit_code=3)
    shop.client("c3").behaviour = Behaviour(other_execution=True, lasts_s=0.3)
    task_id = shop.plan(failure_strategy="continue")
    state = await run(task_id)
    statuses = shop.statuses(task_id)
    assert statuses["c4"] == "success", state.message
    assert statuses["c1"] == "success"
    assert statuses["c2"] == "failed"
    assert "exited 3" in shop.results(task_id)["c2"].error
    assert statuses["c3"] == "unknown"


async def test_script_that_was_never_started_leaves_the_installation_as_it_was(quick_shop):
    quick_shop.client("c1").behaviour = Behaviour(never_started=True)
    task_id = quick_shop.plan(client_ids=["c1"], auto_select_clients=False)
    await run(task_id)
    assert quick_shop.statuses(task_id) == {"c1": "failed"}
    assert quick_shop.results(task_id)["c1"].error == "the script was not started"
    assert quick_shop.installations()["c1"].status == "installed"


async def test_progress_moves_while_clients_are_upgraded(quick_shop):
    for number in range(1, 9):
        quick_shop.client(f"c{number}").behaviour = Behaviour(lasts_s=1.5)
    task_id = quick_shop.plan(strategy=QUICK | {"waves": [2, "100%"], "max_parallel": 2})

    running = asyncio.create_task(run(task_id))
    seen: list[float] = []
    query = {"artifacts": {"key": {"any_": [f"upgrade-progress-{task_id}"]}}}
    async with get_client() as client:
        while not running.done():
            for one in (await client._client.post("/artifacts/filter", json=query)).json():
                if not seen or seen[-1] != one["data"]:
                    seen.append(one["data"])
            await asyncio.sleep(0.05)

    assert (await running).is_completed()
    assert len(seen) >= 3, seen
    assert seen == sorted(seen), "progress went back"
    assert any(0 < share < 100 for share in seen), seen


async def test_what_a_form_leaves_empty_is_the_projects(quick_shop):
    with quick_shop.database.write() as session:
        project = session.get_one(Project, quick_shop.project_id)
        project.default_strategy = Strategy(waves=(3,), stable_for_s=0, health_timeout_s=7, canary_percent=10)
    form = {"project": "shop", "version": "1.5", "waves": "100%"}
    form["failure_strategy"] = "abort"
    running = asyncio.create_task(run(request=form))

    def held():
        with quick_shop.database.read() as session:
            return [one for one in session.scalars(select(DeployTask)) if one.hold is not None]

    await until(held)
    (task,) = held()
    strategy = task.strategy
    assert (strategy.waves, strategy.stable_for_s, strategy.health_timeout_s) == (("100%",), 0, 7)
    assert strategy.canary_percent == 10
    with quick_shop.database.write() as session:
        request_cancel(session, session.get_one(DeployTask, task.id), "finish", "test", utc_now())
    await running
    assert quick_shop.task(task.id).status == "cancelled"
