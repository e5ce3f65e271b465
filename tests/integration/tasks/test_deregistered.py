"""Clients, targets and environments that are gone before their deploy task is settled: the others go on."""

import asyncio
import logging

from sqlalchemy import delete, select, text

from benchmarks.rollout.agents import Behaviour
from db.models import (
    DeployResult,
    DeployTask,
    Environment,
    Installation,
    Lease,
    Project,
    Target,
    Version,
    utc_now,
)
from db.queries.clients import delete_client, delete_target
from flows.heartbeat import heartbeat
from tasks.planning.controls import prepare_retry, request_cancel, wants_run
from tasks.planning.lease import release_leases
from tasks.planning.steering import roll_back
from tests.builders import create_environment
from tests.integration.tasks.conftest import QUICK
from tests.integration.tasks.test_rollouts import until_held
from tests.integration.tasks.test_upgrade_flow import run, until

WHY = "the client is not registered any more"
BOTH = {"client_ids": ["c1", "c2"], "auto_select_clients": False}


async def beat():
    return (await heartbeat(return_state=True, ask_timeout_s=2)).message


async def cut_off(shop, task_id, ready):
    """A run whose process is gone as soon as `ready` says so."""
    dying = asyncio.create_task(run(task_id))
    await until(ready)
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)


def cancelled_in_prefect(shop, task_id):
    with shop.database.write() as session:
        task = session.get_one(DeployTask, task_id)
        task.status, task.finished_at = "cancelled", utc_now()
        release_leases(session, task, task.flow_run_id)


async def left_running(shop, clients=("c1", "c2"), lasts_s=1.0, **plan):
    """Scripts run on these clients when their flow run is cancelled in Prefect."""
    for client in shop.fleet.clients.values():
        client.behaviour = Behaviour(lasts_s=lasts_s)
    task_id = shop.plan(**(plan or BOTH))
    await cut_off(shop, task_id, lambda: all(shop.client(one).scripts_run for one in clients))
    cancelled_in_prefect(shop, task_id)
    assert {client for client, row in shop.statuses(task_id).items() if row == "running"} == set(clients)
    return task_id


async def scripts_ended(shop):
    await until(
        lambda: all(
            one.state.ended for client in shop.fleet.clients.values() for one in client.executions.values()
        )
    )


def deregister(shop, client_id):
    with shop.database.write() as session:
        delete_client(session, client_id)


def retry(shop, task_id):
    with shop.database.write() as session:
        prepare_retry(session, session.get_one(DeployTask, task_id), None, None, "ops", utc_now())


async def test_who_was_in_flight_beside_a_deregistered_client_is_settled(shop):
    task_id = await left_running(shop)
    await scripts_ended(shop)
    deregister(shop, "c1")
    assert (await beat()).endswith("; 1 outcomes settled")
    assert shop.statuses(task_id)["c2"] == "success"


async def test_retry_goes_on_without_a_client_that_was_deregistered_in_flight(shop):
    strategy = {**QUICK, "waves": [2, "100%"]}
    task_id = await left_running(shop, strategy=strategy)
    deregister(shop, "c1")
    retry(shop, task_id)

    state = await run(task_id)

    assert state.is_failed()
    assert shop.statuses(task_id) == {"c1": "unknown"} | dict.fromkeys(("c2", "c3", "c4"), "success")
    row = shop.results(task_id)["c1"]
    assert (row.error, row.finished_at is None) == (WHY, False)
    assert shop.task(task_id).status == "failed"


async def test_cancel_goes_on_without_a_client_that_was_deregistered_in_flight(quick_shop):
    task_id = await left_running(quick_shop, lasts_s=60)
    deregister(quick_shop, "c1")
    retry(quick_shop, task_id)
    with quick_shop.database.write() as session:
        task = request_cancel(session, session.get_one(DeployTask, task_id), "kill", "ops", utc_now())
        assert wants_run(session, task, utc_now())

    assert (await run(task_id)).is_cancelled()

    assert quick_shop.statuses(task_id) == {"c1": "unknown", "c2": "failed"}
    assert quick_shop.task(task_id).status == "cancelled"


async def test_run_after_one_that_died_skips_who_was_deregistered_meanwhile(quick_shop):
    task_id = quick_shop.plan(strategy={**QUICK, "waves": [1, "100%"], "pause_after": [1]})
    dying = asyncio.create_task(run(task_id))
    await until_held(quick_shop, task_id, "wave")
    dying.cancel()
    await asyncio.wait({dying})
    deregister(quick_shop, "c2")
    deregister(quick_shop, "c3")
    with quick_shop.database.write() as session:
        session.get_one(DeployTask, task_id).promoted_waves = 1
        query = select(DeployResult).where(DeployResult.client_id == "c3")
        session.scalars(query).one().ran = True  # by an attempt before

    state = await run(task_id)

    assert state.name == "1 of 8 failed"
    statuses = quick_shop.statuses(task_id)
    assert (statuses.pop("c2"), statuses.pop("c3")) == ("skipped", "failed")
    assert set(statuses.values()) == {"success"}
    assert quick_shop.results(task_id)["c2"].error == WHY
    assert WHY in quick_shop.results(task_id)["c3"].error


async def test_others_are_taken_back_although_one_was_deregistered_on_its_way_back(quick_shop):
    task_id = quick_shop.plan(**BOTH)
    assert (await run(task_id)).is_completed()
    for one in ("c1", "c2"):
        quick_shop.client(one).behaviour = Behaviour(lasts_s=1)
    with quick_shop.database.write() as session:
        roll_back(session, session.get_one(DeployTask, task_id), "ops", utc_now())
    await cut_off(
        quick_shop,
        task_id,
        lambda: all(len(quick_shop.client(one).scripts_run) == 2 for one in ("c1", "c2")),
    )
    cancelled_in_prefect(quick_shop, task_id)
    deregister(quick_shop, "c1")
    with quick_shop.database.write() as session:
        roll_back(session, session.get_one(DeployTask, task_id), "ops", utc_now())

    await run(task_id)

    rows = quick_shop.results(task_id)
    assert (rows["c1"].status, rows["c1"].rollback.status) == ("unknown", "unknown")
    assert (rows["c2"].status, rows["c2"].rollback.status) == ("rolled_back", "success")


def move_to_another_environment(shop, client_id):
    """It is in `far` instead of `prod`; answers the environment's id."""
    with shop.database.write() as session:
        far = create_environment(session, session.get_one(Project, shop.project_id), "far")
        for kind in (Target, Installation):
            session.scalars(select(kind).where(kind.client_id == client_id)).one().environment_id = far.id
        return far.id


def delete_environment(shop, environment_id):
    """As the release API does it, once nothing is in it."""
    with shop.database.write() as session:
        session.execute(delete(Lease).where(Lease.environment_id == environment_id))
        session.delete(session.get_one(Environment, environment_id))


async def test_deleted_environment_keeps_nobody_else_from_being_settled(shop):
    far = move_to_another_environment(shop, "c4")
    everywhere = await left_running(shop, ("c1", "c2", "c3", "c4"), environment="*")
    await scripts_ended(shop)
    deregister(shop, "c4")
    delete_environment(shop, far)

    assert (await beat()).endswith("; 3 outcomes settled")

    statuses = shop.statuses(everywhere)
    assert statuses.pop("c4") == "running"
    assert set(statuses.values()) == {"success"}


async def test_client_whose_environment_was_deleted_is_settled(shop):
    """It has no installation there any more that could be written down."""
    far = move_to_another_environment(shop, "c4")
    task_id = await left_running(shop, ("c1", "c2", "c3", "c4"), environment="*")
    await scripts_ended(shop)
    with shop.database.write() as session:
        delete_target(session, session.scalars(select(Target).where(Target.client_id == "c4")).one())
    delete_environment(shop, far)

    assert (await beat()).endswith("; 4 outcomes settled")

    assert set(shop.statuses(task_id).values()) == {"success"}
    assert "c4" not in shop.installations()


async def test_retry_goes_on_although_an_environment_was_deleted(shop):
    far = move_to_another_environment(shop, "c4")
    shop.client("c1").behaviour = Behaviour(exit_code=1)
    task_id = shop.plan(environment="*", failure_strategy="continue")
    assert (await run(task_id)).name == "1 of 4 failed"
    shop.client("c1").behaviour = Behaviour()
    deregister(shop, "c4")
    delete_environment(shop, far)
    retry(shop, task_id)

    state = await run(task_id)

    assert state.is_completed(), state.message
    assert set(shop.statuses(task_id).values()) == {"success"}


async def test_client_whose_script_is_gone_keeps_no_other_of_its_deploy_task_from_being_settled(quick_shop):
    with quick_shop.database.write() as session:
        session.execute(delete(Installation).where(Installation.client_id == "c1"))
    task_id = await left_running(quick_shop)
    await scripts_ended(quick_shop)
    with quick_shop.database.write() as session:
        version = session.scalars(select(Version).where(Version.version == "1.5")).one()
        version.install_script = None

    assert (await beat()).endswith("; 1 outcomes settled")

    assert quick_shop.statuses(task_id) == {"c1": "running", "c2": "success"}


async def test_deploy_task_that_cannot_be_read_keeps_no_other_from_being_settled(quick_shop, caplog):
    alone = {"auto_select_clients": False}
    first = await left_running(quick_shop, ["c1"], client_ids=["c1"], **alone)
    second = await left_running(quick_shop, ["c2"], client_ids=["c2"], **alone)
    await scripts_ended(quick_shop)
    with quick_shop.database.write() as session:
        session.execute(text("UPDATE deploy_tasks SET plan = '[]' WHERE id = :id"), {"id": as_kept(first)})

    with caplog.at_level(logging.ERROR):
        assert (await beat()).endswith("; 1 outcomes settled")

    assert quick_shop.statuses(second) == {"c2": "success"}
    assert f"cannot read what is unknown of deploy task {first}" in caplog.text


def as_kept(id_):
    """As SQLite has it."""
    return id_.replace("-", "")
