"""A dry run against a real Prefect server: plan, differences, who is ready; and nothing is changed."""

import json

from prefect.client.orchestration import get_client
from sqlalchemy import select, update

from benchmarks.rollout.agents import Behaviour
from db.models import AuditEntry, Client, DeployTask, Version
from db.queries.clients import delete_client
from tests.integration.tasks.test_upgrade_flow import run

FORM = {"project": "shop", "version": "1.5", "environment": "prod", "waves": "1, 100%"}


async def artifacts_of(state):
    wanted = {"flow_runs": {"id": {"any_": [str(state.state_details.flow_run_id)]}}}
    async with get_client() as client:
        found = (await client._client.post("/artifacts/filter", json=wanted)).json()
    return {one["key"].rsplit("-", 5)[0]: one["data"] for one in found}


async def test_dry_run_shows_plan_differences_and_who_is_ready(shop):
    shop.client("c3").behaviour = Behaviour(down=True)
    with shop.database.write() as session:
        session.get_one(Client, "c4").held_reason = "its disk is full"
        session.execute(
            update(Version).where(Version.version == "1.5").values(update_script="echo new\nTOKEN=abc123")
        )
    state = await run(request=FORM, dry_run=True)
    assert state.message == "dry run: 1 of 3 clients are not ready (c3); nothing was written"
    found = await artifacts_of(state)
    plan, table = found["upgrade-plan"], json.loads(found["upgrade-preflight"])
    assert "passed over: `c4`: its disk is full" in plan
    assert "update_script of 1.5, against 1.4's" in plan
    assert "-echo update 1.4" in plan
    assert "+echo new" in plan
    assert "abc123" not in plan
    assert [row["client"] for row in table] == ["c3", "c1", "c2"]
    assert (table[0]["ready"], table[1]["ready"]) == ("NO", "yes")
    assert "does not answer" in table[0]["problem"]
    assert table[1]["way back"] == "1.4, by the rollback_script of 1.5"
    assert table[1]["method"] == "nohup"
    with shop.database.read() as session:
        assert session.scalars(select(DeployTask)).all() == []
        assert session.scalars(select(AuditEntry)).all() == []
    assert not any(client.scripts_run for client in shop.fleet.clients.values())


async def test_dry_run_of_a_deploy_task_says_what_changed_since(quick_shop):
    task_id = quick_shop.plan()
    with quick_shop.database.write() as session:
        session.get_one(Client, "c2").held_reason = "on fire"
    state = await run(task_id, dry_run=True)
    assert state.message == "dry run: all 8 clients are ready; nothing was written"
    assert "changed since the plan was made" in (await artifacts_of(state))["upgrade-plan"]
    assert quick_shop.task(task_id).status == "pending"
    assert set(quick_shop.statuses(task_id).values()) == {"pending"}


async def test_dry_run_names_who_is_registered_no_more(quick_shop):
    task_id = quick_shop.plan()
    with quick_shop.database.write() as session:
        delete_client(session, "c2")
    state = await run(task_id, dry_run=True)
    assert "dry run" in state.message
    tables = await artifacts_of(state)
    assert any("not registered any more" in str(table) for table in tables.values())
