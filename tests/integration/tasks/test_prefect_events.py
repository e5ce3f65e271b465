"""News as events of a real Prefect server, and an automation that acts on one."""

import asyncio
import re
from datetime import timedelta
from uuid import uuid4

import httpx
from prefect import flow
from sqlalchemy import select, update

from db.models import Alert, Delivery, News, utc_now
from deployments.demo.environment import CODE
from flows.watch import watch
from tasks.alerting.prefect_events import PrefectEvents
from tasks.alerting.sending import send_news

GUIDE = CODE / "docs" / "how-to" / "alerts.md"


def add_alert(database, project_id, number=1):
    now = utc_now()
    with database.write() as session:
        alert = Alert(
            fingerprint=f"{number:064d}",
            type="process_exit",
            level="critical",
            source="process",
            client_id="c1",
            project_id=project_id,
            subject="main",
            title="shop on c1: process exit (main)",
            message="main exited",
            labels={"rack": "r1"},
            since=now,
            held_at=now,
            seen_at=now,
            holds=True,
            for_s=1,
            keep_firing_s=0,
            stale_after_s=180,
            fired_at=now,
        )
        session.add(alert)
        session.flush()
        session.add(
            News(
                event="firing",
                level="critical",
                project_id=project_id,
                client_id="c1",
                alert_id=alert.id,
                title=alert.title,
                body=alert.message,
                at=now,
            )
        )
    return alert.fingerprint


def events_of(prefect_api, name):
    wanted = {
        "filter": {"event": {"name": [name]}, "occurred": {"since": "2020-01-01T00:00:00Z"}},
        "limit": 50,
    }
    return (
        httpx.post(f"{prefect_api}/events/filter", json=wanted, timeout=30)
        .raise_for_status()
        .json()["events"]
    )


async def until(find, timeout_s=60.0):
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not (found := find()):
        assert asyncio.get_running_loop().time() < deadline, "nothing happened in time"
        await asyncio.sleep(0.2)
    return found


async def test_alert_is_an_event_once(quick_shop, prefect_api):
    fingerprint = add_alert(quick_shop.database, quick_shop.project_id, number=11)
    events = PrefectEvents(prefect_api)
    assert send_news(quick_shop.database, (), utc_now(), events=events) == 1
    assert send_news(quick_shop.database, (), utc_now(), events=events) == 0

    def mine():
        found = events_of(prefect_api, "hoist.alert.firing")
        return [
            one for one in found if one["resource"]["prefect.resource.id"] == f"hoist.alert.{fingerprint}"
        ]

    (event,) = await until(mine)
    assert event["resource"]["hoist.project"] == "shop"
    assert event["resource"]["hoist.client"] == "c1"
    assert event["payload"]["labels"] == {"rack": "r1"}


async def test_prefect_that_is_away_hears_of_it_later(quick_shop, prefect_api):
    add_alert(quick_shop.database, quick_shop.project_id, number=12)
    away = PrefectEvents("http://127.0.0.1:1/api")
    now = utc_now()
    assert send_news(quick_shop.database, (), now, events=away) == 0
    assert (
        send_news(quick_shop.database, (), now + timedelta(seconds=30), events=PrefectEvents(prefect_api))
        == 1
    )


async def test_watch_sends_prefect_what_the_release_api_could_not(quick_shop, prefect_api):
    add_alert(quick_shop.database, quick_shop.project_id, number=14)
    send_news(quick_shop.database, (), utc_now(), events=PrefectEvents("http://127.0.0.1:1/api"))
    with quick_shop.database.write() as session:
        session.execute(update(Delivery).values(next_at=utc_now()))
    await watch()
    with quick_shop.database.read() as session:
        assert session.scalars(select(Delivery.status)).all() == ["sent"]


async def test_watch_that_routes_news_tells_prefect_too(quick_shop, prefect_api, tmp_path, monkeypatch):
    notify = tmp_path / "notify.toml"
    notify.touch(mode=0o600)
    monkeypatch.setenv("HOIST_NOTIFY_FILE", str(notify))
    add_alert(quick_shop.database, quick_shop.project_id, number=15)
    await watch()
    with quick_shop.database.read() as session:
        assert session.scalars(select(Delivery.channel)).all() == ["prefect events"]


async def test_event_that_is_sent_twice_is_one(quick_shop, prefect_api):
    """As by a sender that dies after the server took it, before that was written down."""
    fingerprint = add_alert(quick_shop.database, quick_shop.project_id, number=16)
    for minutes in (0, 3):
        with quick_shop.database.write() as session:
            session.execute(update(Delivery).values(status="waiting"))
        events, now = PrefectEvents(prefect_api), utc_now() + timedelta(minutes=minutes)
        assert send_news(quick_shop.database, (), now, events=events) == 1
    marker = {**_marker(), "resource": {"prefect.resource.id": f"hoist.alert.{fingerprint}"}}
    assert PrefectEvents(prefect_api).post([marker]) is None
    await until(lambda: events_of(prefect_api, "after.it"))
    found = events_of(prefect_api, "hoist.alert.firing")
    ids = [one["resource"]["prefect.resource.id"] for one in found]
    assert ids.count(f"hoist.alert.{fingerprint}") == 1


def _marker():
    return {"id": str(uuid4()), "occurred": utc_now().isoformat(), "event": "after.it", "payload": {}}


async def test_documented_automation_runs_a_deployment(quick_shop, prefect_api):
    @flow(name="collect-core-dump")
    def collect(client: str) -> None:
        print(client)

    deployment = await collect.ato_deployment(name="shop")
    deployment_id = await deployment.aapply()
    [example] = [
        text
        for text in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
        if "Automation(" in text
    ]
    await asyncio.to_thread(exec, example, {"deployment_id": deployment_id})
    await asyncio.sleep(2)  # the server's triggers learn of it
    add_alert(quick_shop.database, quick_shop.project_id, number=13)
    send_news(quick_shop.database, (), utc_now(), events=PrefectEvents(prefect_api))

    def runs():
        wanted = {"flow_runs": {"deployment_id": {"any_": [str(deployment_id)]}}}
        return (
            httpx.post(f"{prefect_api}/flow_runs/filter", json=wanted, timeout=30).raise_for_status().json()
        )

    (run,) = await until(runs)
    assert run["parameters"] == {"client": "c1"}
