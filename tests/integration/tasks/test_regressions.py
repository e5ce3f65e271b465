"""Versions that use more than the one before them, against a real Prefect server and simulated agents."""

import asyncio
import json
from datetime import timedelta

import pytest
from prefect.client.orchestration import get_client

from benchmarks.rollout.agents import Behaviour
from db.models import LatestProcessReport, ProcessSet, utc_now
from db.queries.deploy_tasks import get_deploy_task
from flows.upgrade import upgrade
from tasks.planning.steering import resume
from tests.builders import make_alert
from tests.integration.tasks.conftest import QUICK

WAVES = {"waves": [3, "100%"], "max_failures": 0}


def report_before(shop, cpu=10.0, memory=100.0, age_s=20.0, version="1.4", observed=None):
    """What each client's newest report said of the version that is there."""
    with shop.database.write() as session:
        for client_id in shop.installations():
            known = ProcessSet(
                client_id=client_id, project_id=shop.project_id, digest="0" * 32, version=version
            )
            known.observed_version = observed
            known.unmatched_rules, known.definitions, known.last_day = [], [], utc_now().date()
            session.add(known)
            session.flush()
            at = utc_now() - timedelta(seconds=age_s)
            row = LatestProcessReport(project_id=shop.project_id, client_id=client_id, set_id=known.id)
            row.reported_at = row.received_at = at
            row.statuses, row.memory_pct = "S", None
            row.cpu_percent, row.memory_mb = [cpu], [memory]
            session.add(row)


def uses(shop, cpu=10.0, memory=100.0):
    for number in range(1, 9):
        client = shop.client(f"c{number}")
        client.cpu_percent, client.memory_mb = cpu, memory


async def run(shop, **values):
    task_id = shop.plan(strategy=QUICK | WAVES | values.pop("strategy", {}), **values)
    state = await upgrade(deploy_task_id=task_id, return_state=True)
    return task_id, state


def done(shop, task_id):
    return sorted(client for client, status in shop.statuses(task_id).items() if status == "success")


async def usage_table(task_id):
    async with get_client() as client:
        query = {"artifacts": {"key": {"any_": [f"upgrade-usage-{task_id}"]}}}
        found = (await client._client.post("/artifacts/filter", json=query)).json()
    return json.loads(found[0]["data"]) if found else []


async def test_version_that_uses_more_stops_after_its_first_wave(shop):
    report_before(shop)
    uses(shop, memory=160.0)
    task_id, state = await run(shop)
    assert len(done(shop, task_id)) == 3
    assert "3 of 3 compared clients have more memory than before" in state.message
    assert "100.0 → 160.0 MB" in shop.task(task_id).status_reason
    usage = shop.results(task_id)[done(shop, task_id)[0]].usage
    assert (usage.before.memory_mb, usage.after.memory_mb) == (100.0, 160.0)
    table = await usage_table(task_id)
    assert [row["worse"] for row in table[:4]] == ["YES", "YES", "YES", "no"]
    assert table[0] | {"client": ""} == {
        "client": "",
        "figure": "memory (MB)",
        "before": "100.0",
        "after": "160.0",
        "change": "+60 %",
        "worse": "YES",
    }


@pytest.mark.parametrize("shard_above", [500, 3])
async def test_version_that_uses_more_stops_in_the_middle_of_a_wave(quick_shop, monkeypatch, shard_above):
    monkeypatch.setenv("HOIST_SHARD_ABOVE", str(shard_above))
    report_before(quick_shop, observed="1.4")
    uses(quick_shop, memory=160.0)
    for number in range(1, 9):
        quick_shop.client(f"c{number}").behaviour = Behaviour(lasts_s=1.2)
    task_id, state = await run(quick_shop, strategy={"waves": ["100%"], "max_parallel": 1})
    assert 3 <= len(done(quick_shop, task_id)) <= 5
    assert "have more memory than before" in state.message


@pytest.mark.parametrize(
    ("before", "after", "strategy"),
    [
        ({}, {"memory": 140.0}, {}),
        ({"age_s": 3600}, {"memory": 900.0}, {}),
        ({"version": "1.3"}, {"memory": 900.0}, {}),
        ({"observed": "1.5"}, {"memory": 900.0}, {}),
        ({}, {"memory": 900.0}, {"regression_percent": 0}),
        ({}, {"memory": 900.0}, {"regression_min_clients": 9}),
    ],
)
async def test_what_is_within_its_bounds_goes_through(quick_shop, before, after, strategy):
    report_before(quick_shop, **before)
    uses(quick_shop, **after)
    task_id, state = await run(quick_shop, strategy=strategy)
    assert state.is_completed(), state.message
    assert len(done(quick_shop, task_id)) == 8


async def test_who_uses_more_is_taken_back_where_that_was_asked_for(quick_shop):
    report_before(quick_shop)
    uses(quick_shop, cpu=80.0)
    task_id, _ = await run(quick_shop, auto_rollback="wave")
    statuses = list(quick_shop.statuses(task_id).values())
    assert (statuses.count("rolled_back"), statuses.count("skipped")) == (3, 5)
    assert {row.version for row in quick_shop.installations().values()} == {"1.4"}


async def test_who_was_taken_back_for_it_lets_no_other_wave_begin(quick_shop):
    """They use nothing more, and as failures they are within the limit: what stopped it stays said."""
    report_before(quick_shop)
    uses(quick_shop, cpu=80.0)
    task_id, state = await run(quick_shop, auto_rollback="wave", strategy={"max_failures": "100%"})
    statuses = list(quick_shop.statuses(task_id).values())
    assert (statuses.count("rolled_back"), statuses.count("skipped")) == (3, 5), state.message
    assert "more cpu" in quick_shop.task(task_id).stopped_reason


async def test_person_may_go_on_in_spite_of_it(quick_shop):
    report_before(quick_shop)
    uses(quick_shop, memory=160.0)
    strategy = QUICK | WAVES | {"waves": [3, 2, "100%"]}
    task_id = quick_shop.plan(strategy=strategy, failure_strategy="pause")
    running = asyncio.create_task(upgrade(deploy_task_id=task_id, return_state=True))
    while (held := quick_shop.task(task_id).hold) is None:
        assert not running.done()
        await asyncio.sleep(0.1)
    assert held.kind == "failures"
    assert "have more memory" in held.reason
    with quick_shop.database.write() as session:
        resume(session, get_deploy_task(session, task_id), "ann", utc_now())
    assert (await running).is_completed()
    assert len(done(quick_shop, task_id)) == 8


async def test_restarts_that_were_alerts_count(quick_shop):
    report_before(quick_shop)
    uses(quick_shop)
    task_id = quick_shop.plan(strategy=QUICK | WAVES | {"pause_after": [1]}, failure_strategy="abort")
    running = asyncio.create_task(upgrade(deploy_task_id=task_id, return_state=True))
    while quick_shop.task(task_id).hold is None:
        assert not running.done()
        await asyncio.sleep(0.1)
    with quick_shop.database.write() as session:
        for client_id in done(quick_shop, task_id):
            session.add(make_alert("process_restart", "warning", client_id, project_id=quick_shop.project_id))
    state = await running
    assert "more restarts than before" in state.message, state.message
    assert len(done(quick_shop, task_id)) == 3
