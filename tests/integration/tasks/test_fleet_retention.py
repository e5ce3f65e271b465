"""The flow `retention` against a real Prefect server: what is old is dropped, and nothing else. Both databases."""

from datetime import timedelta

import pytest
from prefect import tags
from prefect.client.orchestration import get_client
from sqlalchemy import select

from db.documents.silences import Matcher
from db.models import Alert, AuditEntry, Delivery, News, Silence, utc_now
from flows.retention import retention
from flows.watch import watch
from tasks.fleet import retention as module
from tests.integration.api.test_housekeeping import kept, reports
from tests.integration.tasks.test_upgrade_flow import run

__all__ = ["reports"]


@pytest.fixture
def settings(database_url, monkeypatch, prefect_api):
    monkeypatch.setenv("HOIST_DATABASE_URL", database_url)


def alert(number, at, resolved):
    moments = dict.fromkeys(("since", "held_at", "seen_at", "fired_at"), at)
    return Alert(
        fingerprint=f"{number:064d}",
        type="process_exit",
        level="critical",
        source="process",
        client_id="a",
        subject="main",
        title="t",
        message="m",
        holds=True,
        for_s=1,
        keep_firing_s=0,
        stale_after_s=1,
        resolved_at=at if resolved else None,
        **moments,
    )


def add_rows(session, at, number):
    """One of each kind, of that time; an alert that fires beside the one that resolved."""
    session.add_all([alert(number, at, resolved=True), alert(number + 1, at, resolved=False)])
    news = News(event="done", level="info", title="n", body="", at=at, routed_at=at)
    unsent = News(event="done", level="info", title="unsent", body="", at=at)
    session.add_all([news, unsent])
    session.flush()
    session.add(Delivery(news_id=news.id, channel="ops", status="sent", created_at=at, next_at=at))
    session.add(AuditEntry(at=at, who="ann", action="x", subject="y"))
    matchers = (Matcher(name="type", value="process_exit"),)
    session.add(Silence(matchers=matchers, starts_at=at, ends_at=at, created_by="ann", comment="", who="ann"))


def count(database, *tables):
    with database.read() as session:
        return [len(session.scalars(select(table.id)).all()) for table in tables]


async def drop(**values):
    state = await retention(return_state=True, **values)
    assert state.is_completed(), state.message
    return state.message


async def test_what_is_old_is_dropped_and_nothing_else(database, settings):
    with database.write() as session:
        add_rows(session, utc_now() - timedelta(days=100), 1)
        add_rows(session, utc_now() - timedelta(days=80), 3)
    assert await drop() == "1 alerts, 1 news, 1 silences"
    assert await drop() == "nothing is old"
    assert count(database, Alert, News, Delivery, Silence, AuditEntry) == [3, 3, 1, 1, 2]
    assert await drop(alert_days=70, news_days=90, audit_days=90) == "1 alerts, 1 silences, 1 audit entries"
    assert count(database, Alert, News, Delivery, Silence, AuditEntry) == [2, 3, 1, 0, 1]
    with database.read() as session:
        assert session.scalars(select(Alert.resolved_at)).all() == [None, None], "what fires stays"
        assert sorted(session.scalars(select(News.title))) == ["n", "unsent", "unsent"], (
            "so does what is unsent"
        )


async def test_reports_are_kept_as_long_as_the_release_api_keeps_them(
    database, settings, reports, monkeypatch
):
    monkeypatch.setenv("HOIST_API_REPORT_HISTORY_DAYS", "33")
    assert "reports" in await drop()
    assert kept(database) == [0, 29, 31]
    monkeypatch.delenv("HOIST_API_REPORT_HISTORY_DAYS")
    await drop()
    assert kept(database) == [0, 29]
    await drop(report_days=7)
    assert kept(database) == [0]


async def test_nonsense_in_the_setting_ends_the_run_with_one_line(settings, monkeypatch):
    monkeypatch.setenv("HOIST_API_REPORT_HISTORY_DAYS", "for ever")
    state = await retention(return_state=True)
    assert (state.name, state.is_failed()) == ("Refused", True)
    assert state.message == ("cannot use HOIST_API_REPORT_HISTORY_DAYS: it is not a number from 1 to 3650")


async def test_old_runs_of_system_flows_are_dropped_with_their_artifacts_and_upgrades_are_not(
    quick_shop, monkeypatch
):
    upgrade_state = await run(quick_shop.plan())
    with tags("hoist", "system"):
        watched = await watch(return_state=True)
    with tags("system"):
        somebodys = await watch(return_state=True)

    class Later:
        @staticmethod
        def now(zone):
            return utc_now().astimezone(zone) + timedelta(days=3)

    theirs = {str(one.state_details.flow_run_id) for one in (upgrade_state, somebodys)}
    gone = str(watched.state_details.flow_run_id)
    assert await artifacts_of(gone) == 3
    monkeypatch.setattr(module, "datetime", Later)  # what is old, is said by the clock
    assert "flow runs" in await drop()
    async with get_client() as client:
        ids = {str(one.id) for one in await client.read_flow_runs(limit=200)}
    assert theirs <= ids
    assert gone not in ids
    assert await artifacts_of(gone) == 0
    assert await artifacts_of(str(somebodys.state_details.flow_run_id)) == 3


async def artifacts_of(flow_run_id):
    async with get_client() as client:
        wanted = {"flow_runs": {"id": {"any_": [flow_run_id]}}}
        by_run = await client._client.post("/artifacts/filter", json=wanted)
        without = await client._client.post(
            "/artifacts/filter", json={"artifacts": {"flow_run_id": {"any_": [flow_run_id]}}}
        )
    assert len(by_run.json()) <= len(without.json())
    return len(without.json())
