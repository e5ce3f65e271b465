"""News as events of a real Prefect server, and an automation that acts on one."""

import asyncio
from datetime import timedelta

import httpx
from prefect import flow
from prefect.automations import Automation
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import EventTrigger

from db.models import Alert, News, utc_now
from tasks.alerting.prefect_events import PrefectEvents
from tasks.alerting.sending import send_news


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


async def test_documented_automation_runs_a_deployment(quick_shop, prefect_api):
    @flow(name="collect-core-dump")
    def collect(client: str) -> None:
        print(client)

    deployment = await collect.ato_deployment(name="shop")
    deployment_id = await deployment.aapply()
    await Automation(
        name="collect a core dump",
        trigger=EventTrigger(
            expect={"hoist.alert.firing"},
            match={
                "prefect.resource.id": "hoist.alert.*",
                "hoist.project": "shop",
                "hoist.type": "process_exit",
            },
            threshold=1,
        ),
        actions=[
            RunDeployment(
                source="selected",
                deployment_id=deployment_id,
                parameters={"client": "{{ event.resource['hoist.client'] }}"},
            )
        ],
    ).acreate()
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
