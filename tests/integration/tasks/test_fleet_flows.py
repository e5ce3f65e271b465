"""The scheduled flows against a real Prefect server and simulated agents: heartbeat and watch."""

import asyncio
import json
import time
from datetime import timedelta

import pytest
from prefect.client.orchestration import get_client
from sqlalchemy import delete, select, update

from agent.client import agent_http_client
from benchmarks.rollout.agents import Behaviour
from db.models import Alert, Client, Installation, LatestContainerReport, News, utc_now
from flows.heartbeat import heartbeat
from flows.watch import watch
from tasks.fleet import asking
from tasks.fleet import heartbeat as round_of
from tasks.fleet.silence import AskedClient


async def beat(**values):
    state = await heartbeat(return_state=True, **values)
    assert state.is_completed(), state.message
    return state


def client_rows(shop):
    with shop.database.read() as session:
        return {row.client_id: row for row in session.scalars(select(Client))}


def alerts(shop):
    with shop.database.read() as session:
        return session.scalars(select(Alert).order_by(Alert.id)).all()


def put_back(shop, minutes, *client_ids):
    """The clients' state is that old."""
    with shop.database.write() as session:
        since = utc_now() - timedelta(minutes=minutes)
        session.execute(update(Client).where(Client.client_id.in_(client_ids)).values(online_since=since))


async def test_silent_clients_are_asked_and_marked_online_or_offline(shop):
    shop.client("c2").behaviour = Behaviour(down=True)
    state = await beat(ask_timeout_s=2)
    assert state.message.startswith("4 were asked: 3 online, 1 offline")
    rows = client_rows(shop)
    assert {client: row.online for client, row in rows.items()} == {
        "c1": True,
        "c2": False,
        "c3": True,
        "c4": True,
    }
    assert rows["c1"].heard_at is not None
    assert rows["c2"].heard_at is None
    since = rows["c2"].online_since
    await beat(ask_timeout_s=2)
    assert client_rows(shop)["c2"].online_since == since, (
        "it is offline since then, not since it was asked again"
    )


async def test_client_that_answers_as_another_is_offline(quick_shop):
    with quick_shop.database.write() as session:
        row = session.get_one(Client, "c1")
        row.url = row.url.replace("/c1", "/c2")
    await beat()
    assert client_rows(quick_shop)["c1"].online is False


async def test_client_that_reports_is_online_even_where_it_cannot_be_reached(quick_shop):
    quick_shop.client("c1").behaviour = Behaviour(down=True)
    with quick_shop.database.write() as session:
        session.execute(delete(Installation))
        session.add(
            LatestContainerReport(client_id="c1", containers=(), reported_at=utc_now(), received_at=utc_now())
        )
    state = await beat(ask_timeout_s=2)
    assert "1 offline" in state.message, "it reports what is not installed, so it is asked"
    assert client_rows(quick_shop)["c1"].online is True


async def test_monitors_are_put_right(shop):
    await beat()
    monitors = {name: shop.client(name).monitors for name in ("c1", "c2", "c3", "c4")}
    assert {tuple(one) for one in monitors.values()} == {(shop.project_id,)}
    assert monitors["c1"][shop.project_id]["version"] == "1.4"
    asked = json.loads(json.dumps(monitors["c1"]))

    shop.client("c1").monitors.clear()
    shop.client("c2").monitors[shop.project_id]["version"] = "1.3"
    shop.client("c3").monitors["0198c0de-0000-7000-8000-000000000000"] = asked[shop.project_id]
    state = await beat()
    assert "3 monitors put right" in state.message
    assert shop.client("c1").monitors[shop.project_id] == asked[shop.project_id]
    assert shop.client("c2").monitors[shop.project_id]["version"] == "1.4"
    assert list(shop.client("c3").monitors) == [shop.project_id]
    assert "0 monitors put right" in (await beat()).message


async def test_monitor_that_a_deployment_put_since_the_round_began_is_left(quick_shop):
    """The round knows of nothing that is installed there: it was read minutes ago."""
    await beat(ask_timeout_s=2)
    client = quick_shop.client("c1")
    watched = dict(client.monitors)
    assert watched
    row = client_rows(quick_shop)["c1"]
    stale = AskedClient("c1", row.url, "token", {}, frozenset(), was_online=True, reporting=False)
    async with agent_http_client() as http:
        deadline, slots = time.monotonic() + 60, asyncio.Semaphore(1)
        round_ = asking.Round({"c1": stale}, quick_shop.database, http, 5, utc_now(), deadline, slots)
        assert await asking._ask_in_turn(round_, stale) == asking.Answer("c1", online=True)
    assert client.monitors == watched


async def test_monitor_of_an_adopted_version_that_nobody_registered_stays(quick_shop):
    await beat()
    with quick_shop.database.write() as session:
        session.execute(update(Installation).values(version="0.9"))
    assert "0 monitors put right" in (await beat()).message
    assert quick_shop.client("c1").monitors[quick_shop.project_id]["version"] == "1.4"


async def test_offline_client_is_an_alert_once_and_resolves_when_it_is_back(shop):
    shop.client("c2").behaviour = Behaviour(down=True)
    await beat(ask_timeout_s=2)
    await watch(offline_for_s=3600)
    assert not [one for one in alerts(shop) if one.fired_at], "not for so long yet"
    await watch(offline_for_s=0)
    await watch(offline_for_s=0)
    (alert,) = alerts(shop)
    assert (alert.type, alert.client_id, alert.level) == ("client_offline", "c2", "critical")
    assert alert.fired_at is not None
    shop.client("c2").behaviour = Behaviour()
    await beat()
    await watch(offline_for_s=120)
    (alert,) = alerts(shop)
    assert alert.resolved_at is not None
    with shop.database.read() as session:
        told = session.scalars(select(News.event).where(News.alert_id == alert.id).order_by(News.id)).all()
    assert told == ["firing", "resolved"]


async def test_client_that_was_offline_for_days_before_anybody_watched_is_an_alert(quick_shop):
    quick_shop.client("c2").behaviour = Behaviour(down=True)
    await beat(ask_timeout_s=2)
    put_back(quick_shop, 3 * 24 * 60, "c2")
    await watch()
    (alert,) = alerts(quick_shop)
    assert alert.fired_at is not None


async def test_alert_of_what_is_not_installed_any_more_ends(quick_shop):
    now = utc_now()
    with quick_shop.database.write() as session:
        session.add(
            Alert(
                fingerprint="f" * 64,
                type="process_exit",
                level="critical",
                source="process",
                client_id="c1",
                project_id=quick_shop.project_id,
                subject="main",
                title="shop on c1: process exit (main)",
                message="main exited",
                labels={},
                since=now,
                held_at=now,
                seen_at=now,
                holds=True,
                for_s=1,
                keep_firing_s=0,
                stale_after_s=180,
                fired_at=now,
            )
        )
    await watch()
    assert alerts(quick_shop)[0].resolved_at is None
    with quick_shop.database.write() as session:
        session.execute(
            update(Installation).where(Installation.client_id == "c1").values(status="uninstalled")
        )
    await watch()
    assert alerts(quick_shop)[0].resolved_at is not None


async def test_tables_show_the_worst_first(quick_shop):
    quick_shop.client("c5").behaviour = Behaviour(down=True)
    await beat(ask_timeout_s=2)
    put_back(quick_shop, 10, "c5")
    state = await watch(return_state=True)
    assert state.message == (
        "8 clients: 1 offline, 0 held; 0 failed installations; 1 alerts fire; 0 installations have drifted"
    )
    async with get_client() as client:
        keys = {"flow_runs": {"id": {"any_": [str(state.state_details.flow_run_id)]}}}
        answer = await client._client.post("/artifacts/filter", json=keys)
    tables = {one["key"]: json.loads(one["data"]) for one in answer.json()}
    first = tables["fleet-health"][0]
    assert (first["client"], first["is"], first["installed"]) == ("c5", "OFFLINE", "shop 1.4")
    assert first["alerts"] == "1 critical"
    assert tables["firing-alerts"][0]["client"] == "c5"
    assert tables["fleet-drift"] == []


async def test_thousand_clients_are_tens_of_task_runs(quick_shop):
    with quick_shop.database.write() as session:
        address, token = session.get_one(Client, "c1").url, session.get_one(Client, "c1").token_encrypted
        session.add_all(
            Client(
                client_id=f"more-{number}",
                url=address,
                labels={},
                report_token_sha256=f"{number:064d}",
                token_encrypted=token,
            )
            for number in range(992)
        )
    state = await beat()
    assert state.message.startswith("1000 were asked")
    wanted = {"flow_runs": {"id": {"any_": [str(state.state_details.flow_run_id)]}}}
    async with get_client() as client:
        for _ in range(100):  # the server writes task runs down in batches
            count = (await client._client.post("/task_runs/count", json=wanted)).json()
            if count >= 20:
                break
            await asyncio.sleep(0.1)
    assert 20 <= count <= 40


async def test_worker_that_knows_no_channels_leaves_news_to_the_release_api(shop):
    with shop.database.write() as session:
        session.add(News(event="done", level="info", title="upgraded", body="", at=utc_now()))
    await watch()
    with shop.database.read() as session:
        assert session.scalars(select(News.routed_at)).all() == [None]


async def test_client_without_a_token_can_not_be_asked_and_is_offline_once_it_reports_no_more(quick_shop):
    with quick_shop.database.write() as session:
        for client_id, online in (("c1", None), ("c2", True)):
            row = session.get_one(Client, client_id)
            row.token_encrypted, row.online = None, online
    assert (await beat()).message == (
        "7 were asked: 6 online, 1 offline, 6 monitors put right; 1 could not be asked"
    )
    rows = client_rows(quick_shop)
    assert (rows["c1"].online, rows["c2"].online) == (None, False)


async def test_outage_of_everybody_fits_into_a_round_and_who_is_left_is_next(quick_shop, monkeypatch):
    with quick_shop.database.write() as session:
        token = session.get_one(Client, "c1").token_encrypted
        session.add_all(
            Client(
                token_encrypted=token,
                client_id=f"gone-{number}",
                url="http://127.0.0.1:1",
                labels={},
                report_token_sha256=f"{number:064d}",
            )
            for number in range(300)
        )
    monkeypatch.setattr(asking, "AGAIN_S", 0.2)
    state = await beat(ask_timeout_s=5)
    assert state.message == "308 were asked: 8 online, 300 offline, 8 monitors put right"
    monkeypatch.setattr(round_of, "ROUND_S", 0.0)
    assert (await beat()).message.endswith("; 308 could not be asked")
    assert sum(row.online is False for row in client_rows(quick_shop).values()) == 300


@pytest.mark.parametrize("values", [{"silent_for_s": -1}, {"ask_timeout_s": "soon"}])
async def test_nonsense_in_the_form_is_refused(quick_shop, values):
    state = await heartbeat(return_state=True, **values)
    assert state.is_failed()
    assert next(iter(values)) in state.message
