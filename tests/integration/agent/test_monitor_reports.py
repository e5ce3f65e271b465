"""Monitors report real processes to a real HTTP server, over its absences and the agent's restarts."""

import asyncio
import os
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest

from agent.app import build_app
from agent.errors import Refused
from agent.monitors.building import build_monitors, build_reporting
from agent.monitors.endpoints import monitor_endpoints
from agent.processes.collector import ProcessCollector
from agent.processes.endpoints import process_endpoints
from agent.settings import AgentSettings
from agent.wire.executions import Execution
from agent.wire.monitors import PutMonitor
from agent.wire.processes import ReportRequest
from tests.real_processes import PATIENCE_S
from tests.report_receiver import api

__all__ = ["api"]

TOKEN = "the-agents-own-token-0123"


@pytest.fixture
def agent(tmp_path, api):
    @asynccontextmanager
    async def run(*, reports=True):
        settings = AgentSettings(
            client_id="web-01",
            state_dir=tmp_path,
            token=TOKEN,
            api_url=f"http://127.0.0.1:{api.port}/prefix" if reports else None,
            api_token="report-token" if reports else None,
        )
        collector = ProcessCollector(own_pids=set)
        reporting = build_reporting(settings, collector)
        monitors = build_monitors(settings, reporting)
        app = build_app(settings, [*process_endpoints(collector, reporting), *monitor_endpoints(monitors)])
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(monitors.lifespan())
            client = httpx.AsyncClient(
                transport=httpx.ASGITransport(app=app),
                base_url="http://127.0.0.1",
                headers={"Authorization": f"Bearer {TOKEN}"},
            )
            monitors.http = await stack.enter_async_context(client)
            monitors.reporting = reporting
            yield monitors

    return run


def put(interval=5, **fields):
    rules = [
        {"type": "name", "pattern": "*", "name": "all"},
        {"type": "port", "pattern": "1", "name": "none"},
    ]
    config = {"rules": rules, "collect_interval": interval}
    return PutMonitor(version="1.0", release_id="task", process_config=config, **fields)


async def until(read):
    async with asyncio.timeout(PATIENCE_S):
        while not (value := read()):
            await asyncio.sleep(0.02)
    return value


async def test_monitor_reports_at_once_and_again_every_interval(agent, api):
    async with agent() as monitors:
        await monitors.put("shop", put())
        await until(lambda: len(api.reports) >= 2)
        shown = monitors.get("shop")
    first, second = api.reports[:2]
    assert (first["client_id"], first["project_id"], first["version"]) == ("web-01", "shop", "1.0")
    assert (first["release_id"], first["unmatched_rules"]) == ("task", ["none"])
    assert first["report_id"] != second["report_id"]
    assert first["reported_at"] < second["reported_at"]
    assert os.getpid() in {process["pid"] for process in first["processes"]}
    assert set(api.tokens) == {"Bearer report-token"}
    assert shown.last_report_at is not None
    assert shown.last_error is None


async def test_monitor_goes_on_after_a_restart_until_it_is_deleted(agent, api):
    async with agent() as monitors:
        await monitors.put("shop", put(interval=3600))
        await until(lambda: len(api.reports) == 1)
    async with agent() as monitors:
        assert [monitor.project_id for monitor in monitors.all()] == ["shop"]
        await until(lambda: len(api.reports) == 2)
        await monitors.delete("shop")
        with pytest.raises(Refused):
            await monitors.delete("shop")
    async with agent() as monitors:
        assert monitors.all() == []


async def test_reports_are_kept_while_the_api_is_away_and_delivered_in_order(agent, api):
    api.stop()
    async with agent() as monitors:
        await monitors.put("shop", put(interval=3600))
        await until(lambda: monitors.get("shop").spooled == 1)
        await until(lambda: monitors.get("shop").last_error)
    async with agent() as monitors:
        await until(lambda: monitors.get("shop").spooled == 2)
        api.start()
        await until(lambda: monitors.get("shop").spooled == 0)
    times = [report["reported_at"] for report in api.reports]
    assert times == sorted(times)
    assert len(set(times)) == 2


@pytest.mark.parametrize("status", [401, 403, 404, 408, 429, 500, 503, 302])
async def test_answer_that_may_pass_keeps_the_report(agent, api, status):
    api.status = status
    async with agent() as monitors:
        reported = await monitors.reporting.report(ReportRequest(project_id="shop", rules=(), version="1.0"))
        assert not reported.delivered
        assert f"{status}: told why" in reported.error
        api.status = 202
        await until(lambda: len(api.reports) == 1)
        await until(lambda: len(monitors.reporting.spool) == 0)
    assert api.reports[0]["report_id"] == reported.report_id


@pytest.mark.parametrize("status", [400, 409, 413, 422])
async def test_report_that_is_refused_for_good_is_dropped(agent, api, status):
    api.status = status
    async with agent() as monitors:
        reported = await monitors.reporting.report(ReportRequest(project_id="shop", rules=(), version="1.0"))
        assert not reported.delivered
        assert f"{status}: told why" in reported.error
        assert len(monitors.reporting.spool) == 0


async def test_process_report_collects_and_delivers_now(agent, api):
    rules = [{"type": "cmdline", "pattern": "no such command line, surely", "name": "r"}]
    body = {"project_id": "shop", "version": "2.0", "rules": rules}
    async with agent() as monitors:
        answer = await monitors.http.post("/v1/commands/process.report", json=body)
        assert answer.status_code == 200
        assert answer.json()["delivered"] is True
        assert answer.json()["unmatched_rules"] == ["r"]
    assert [(r["version"], r["report_id"]) for r in api.reports] == [("2.0", answer.json()["report_id"])]


async def test_without_a_release_api_nothing_is_reported(agent, api):
    async with agent(reports=False) as monitors:
        body = {"project_id": "shop", "version": "2.0", "rules": []}
        answer = await monitors.http.post("/v1/commands/process.report", json=body)
        assert (answer.status_code, answer.json()["title"]) == (409, "No release API")
        await monitors.put("shop", put())
        assert monitors.get("shop").last_error == "no release API is configured"
        collected = await monitors.http.post(
            "/v1/commands/process.collect", json={"project_id": "shop", "rules": []}
        )
        assert collected.json()["processes"] == []
    assert api.reports == []


async def test_probe_fills_the_observed_version(agent, api, tmp_path):
    probe = {"type": "file", "path": str(tmp_path / "VERSION")}
    (tmp_path / "VERSION").write_text("1.0.7\n")
    async with agent() as monitors:
        await monitors.put("shop", put(3600, version_probe=probe, work_dir=str(tmp_path)))
        await until(lambda: len(api.reports) == 1)
        (tmp_path / "VERSION").unlink()
        await monitors.put("shop", put(3600, version_probe=probe, work_dir=str(tmp_path)))
        await until(lambda: len(api.reports) == 2)
        assert "cannot ask for the version" in monitors.get("shop").last_error
    assert [report.get("observed_version") for report in api.reports] == ["1.0.7", None]


@pytest.mark.parametrize("operation, left", [("uninstall", 0), ("update", 1)])
async def test_uninstall_deletes_the_monitor(agent, tmp_path, operation, left):
    class Done:
        project_id = "shop"
        version = "1.0"

    Done.operation = operation
    ended = Execution(execution_id="e", project_id="shop", state="succeeded")
    async with agent() as monitors:
        await monitors.put("shop", put(3600))
        await asyncio.to_thread(monitors.on_success, Done, ended)
        await until(lambda: len(monitors.all()) == left)
        assert len(list((tmp_path / "monitors").iterdir())) == left


async def test_project_that_is_refused_is_told_of_at_its_own_monitor_alone(agent, api):
    api.status = 403
    async with agent() as monitors:
        await monitors.put("shop", put(3600))
        error = await until(lambda: monitors.get("shop").last_error)
        assert "403: told why" in error
        api.status = 202
        await monitors.put("blog", put(3600))
        await until(lambda: len(api.reports) >= 1)
        assert monitors.get("blog").last_error is None


async def test_deleting_a_monitor_drops_its_reports_that_wait_and_no_other_s(agent, api):
    api.status = 403
    async with agent() as monitors:
        spool = monitors.reporting.spool
        for project_id in ("shop", "blog"):
            await monitors.put(project_id, put(3600))
        await until(lambda: spool.count("shop") and spool.count("blog"))
        await monitors.delete("shop")
        assert (spool.count("shop"), spool.count("blog"), spool.dropped("shop")) == (0, 1, 0)
        api.status = 202
        await until(lambda: len(spool) == 0)
    assert [report["project_id"] for report in api.reports] == ["blog"]


async def test_uninstall_keeps_its_reports_until_the_order_to_watch_no_longer(agent, api):
    class Done:
        project_id = "shop"
        version = "1.0"
        operation = "uninstall"

    api.stop()
    async with agent() as monitors:
        spool = monitors.reporting.spool
        await monitors.put("shop", put(3600))
        await until(lambda: spool.count("shop"))
        ended = Execution(execution_id="e", project_id="shop", state="succeeded")
        await asyncio.to_thread(monitors.on_success, Done, ended)
        await until(lambda: monitors.all() == [])
        assert spool.count("shop") == 1
        with pytest.raises(Refused):
            await monitors.delete("shop")
        assert len(spool) == 0


async def test_command_whose_report_is_dropped_meanwhile_is_told_so(agent, api):
    api.status = 403
    async with agent() as monitors:
        await monitors.reporting.report(ReportRequest(project_id="shop", rules=(), version="1.0"))
        number = monitors.reporting.spool.oldest()[0].number
        with pytest.raises(Refused):
            await monitors.delete("shop")
        assert await monitors.reporting.delivery.deliver(number) == "dropped: shop is watched no longer"


async def test_monitors_over_http(agent):
    body = put(3600).model_dump(mode="json")
    async with agent() as monitors:
        http = monitors.http
        assert (await http.put("/v1/monitors/shop", json=body | {"client_id": "web-02"})).status_code == 409
        assert (await http.put("/v1/monitors/shop", json=body | {"fence": 7})).json()["version"] == "1.0"
        assert (await http.put("/v1/monitors/shop", json=body | {"fence": 6})).status_code == 409
        assert (await http.get("/v1/monitors/shop")).json()["project_id"] == "shop"
        assert [m["project_id"] for m in (await http.get("/v1/monitors")).json()] == ["shop"]
        assert (await http.delete("/v1/monitors/shop", params={"fence": 6})).status_code == 409
        assert (
            await http.delete("/v1/monitors/shop", params={"fence": 8, "client_id": "web-01"})
        ).status_code == 204
        assert (await http.delete("/v1/monitors/shop")).status_code == 404
        assert (await http.get("/v1/monitors/shop")).status_code == 404
        too_often = body["process_config"] | {"collect_interval": 1}
        assert (
            await http.put("/v1/monitors/shop", json=body | {"process_config": too_often})
        ).status_code == 422


async def test_broken_monitor_file_does_not_stop_the_others(agent, tmp_path):
    async with agent(reports=False) as monitors:
        await monitors.put("shop", put())
    (tmp_path / "monitors" / "other.json").write_text("{")
    async with agent(reports=False) as monitors:
        assert [monitor.project_id for monitor in monitors.all()] == ["shop"]
