"""Clients that are offline and come back: what their reports say counts, for the heartbeat and for the watch."""

import asyncio
import time
from datetime import timedelta

import pytest
from sqlalchemy import update

from agent.client import agent_http_client
from agent.wire.processes import ProcessConfig, Rule
from benchmarks.rollout.agents import Behaviour
from db.models import Client, LatestContainerReport, Version, utc_now
from flows.watch import watch
from tasks.alerting.changing import apply_time
from tasks.fleet import asking
from tasks.fleet.silence import AskedClient
from tests.integration.tasks.test_fleet_flows import alerts, beat, client_rows, put_back


def ago(seconds):
    return utc_now() - timedelta(seconds=seconds)


def report(shop, client_id, at):
    """Its newest report came then."""
    with shop.database.write() as session:
        session.add(LatestContainerReport(client_id=client_id, containers=(), reported_at=at, received_at=at))


def put_down(shop, client_id, online, since):
    """It can't be reached, and that is written down of it."""
    shop.client(client_id).behaviour = Behaviour(down=True)
    with shop.database.write() as session:
        values = {"online": online, "online_since": since, "heard_at": since if online else None}
        session.execute(update(Client).where(Client.client_id == client_id).values(**values))


def report_every(shop, interval_s):
    rule = Rule(type="name", pattern="app", name="main")
    with shop.database.write() as session:
        config = ProcessConfig(rules=(rule,), collect_interval=interval_s)
        session.execute(update(Version).values(process_config=config, updated_at=ago(2 * 86_400)))


def round_of(shop, http, client, *, ask_timeout_s=1.0, began=None, left_s=600.0):
    slots, deadline = asyncio.Semaphore(1), time.monotonic() + left_s
    clients = {client.client_id: client}
    return asking.Round(clients, shop.database, http, ask_timeout_s, began or utc_now(), deadline, slots)


def asked(shop, client_id, was_online):
    url = client_rows(shop)[client_id].url
    return AskedClient(client_id, url, "token", {}, frozenset(), was_online=was_online, reporting=False)


async def test_client_that_has_reported_since_it_was_found_offline_is_online(shop):
    """It reports every five minutes: its newest report is never of the last three when the heartbeat looks."""
    report_every(shop, 300)
    put_down(shop, "c1", online=False, since=ago(300))
    put_down(shop, "c2", online=False, since=ago(100))
    put_down(shop, "c3", online=None, since=None)
    came = ago(200)
    for client_id in ("c1", "c2", "c3"):
        report(shop, client_id, came)
    await beat(ask_timeout_s=1)
    rows = client_rows(shop)
    assert [rows[one].online for one in ("c1", "c2", "c3")] == [True, False, True], (
        "c2 has not reported since"
    )
    assert (rows["c1"].online_since, rows["c1"].heard_at) == (came, came)


async def test_client_that_is_heard_of_again_is_never_heard_of_earlier(quick_shop):
    report(quick_shop, "c1", ago(30))
    await beat()
    answered = client_rows(quick_shop)["c1"].heard_at
    quick_shop.client("c1").behaviour = Behaviour(down=True)
    await beat(silent_for_s=600, ask_timeout_s=1)
    assert client_rows(quick_shop)["c1"].heard_at >= answered, "its answer is newer than its report"


async def test_client_whose_agent_restarts_as_it_is_asked_is_not_offline(quick_shop):
    report_every(quick_shop, 300)
    put_down(quick_shop, "c1", online=True, since=ago(1000))
    put_down(quick_shop, "c2", online=True, since=ago(1000))
    report(quick_shop, "c1", ago(200))
    report(quick_shop, "c2", ago(751))
    state = await beat(ask_timeout_s=1)
    assert "2 offline" in state.message, "neither answered"
    rows = client_rows(quick_shop)
    assert (rows["c1"].online, rows["c2"].online) == (True, False), "c2 has missed two reports"


async def test_client_that_reports_while_the_round_asks_is_not_written_down_as_offline(shop):
    began = ago(60)
    put_down(shop, "c1", online=True, since=ago(1000))
    put_down(shop, "c2", online=True, since=ago(1000))
    report(shop, "c1", ago(30))
    report(shop, "c2", ago(90))
    async with agent_http_client() as http:
        for client_id in ("c1", "c2"):
            client = asked(shop, client_id, was_online=True)
            asking._write(round_of(shop, http, client, began=began), [asking.Answer(client_id, online=False)])
    rows = client_rows(shop)
    assert (rows["c1"].online, rows["c2"].online) == (True, False)


async def test_client_that_reports_again_before_the_alert_fires_is_told_to_nobody(shop):
    shop.client("c1").behaviour = shop.client("c2").behaviour = Behaviour(down=True)
    await beat(ask_timeout_s=1)
    await watch()
    assert [one.fired_at for one in alerts(shop)] == [None, None], "not for so long yet"
    report(shop, "c1", utc_now())
    with shop.database.write() as session:
        apply_time(session, utc_now() + timedelta(seconds=60))
    assert [one.fired_at for one in alerts(shop)] == [None, None], "not for so long yet"
    with shop.database.write() as session:
        apply_time(session, utc_now() + timedelta(seconds=121))
    [alert] = alerts(shop)
    assert alert.client_id == "c2", "it is told two minutes after it was found offline, whoever looks"
    assert alert.fired_at is not None
    await watch()
    assert client_rows(shop)["c1"].online is True
    assert [one.client_id for one in alerts(shop)] == ["c2"]


async def test_client_that_reports_again_resolves_its_alert_at_the_next_watch(quick_shop):
    quick_shop.client("c1").behaviour = Behaviour(down=True)
    await beat(ask_timeout_s=1)
    await watch(offline_for_s=0)
    report(quick_shop, "c1", utc_now())
    await watch(offline_for_s=0)
    [alert] = alerts(quick_shop)
    assert alert.fired_at is not None
    assert alert.resolved_at is not None


async def test_offline_anew_between_two_looks_waits_anew(quick_shop):
    quick_shop.client("c1").behaviour = Behaviour(down=True)
    await beat(ask_timeout_s=1)
    put_back(quick_shop, 5, "c1")
    await watch(offline_for_s=3600)
    put_back(quick_shop, 1, "c1")
    await watch(offline_for_s=120)
    assert [one.fired_at for one in alerts(quick_shop)] == [None]


@pytest.mark.parametrize(
    ("was_online", "left_s", "online"),
    [(True, 140, None), (True, 160, True), (None, 140, None), (False, 90, None), (False, 140, True)],
)
async def test_nobody_is_asked_who_may_take_longer_than_the_round(quick_shop, was_online, left_s, online):
    """Twice 50 s and a second between them, and 50 s for its monitors; once, where it is offline already."""
    client = asked(quick_shop, "c1", was_online)
    async with agent_http_client() as http:
        round_ = round_of(quick_shop, http, client, ask_timeout_s=50, left_s=left_s)
        assert (await asking._ask_in_turn(round_, client)).online is online


def test_round_is_over_before_its_task_runs_are_ended():
    timeout_s = asking.ask_clients.timeout_seconds
    assert timeout_s >= asking.ROUND_S + 30, "what was heard is still to be written down"
