"""An agent one wire version behind: it plays recorded answers, and refuses every field that it doesn't know."""

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agent.client import AgentApi, agent_http_client
from agent.wire.base import OLDEST_WIRE_VERSION
from agent.wire.executions import ExecuteRequest, ExecutionState
from agent.wire.monitors import PutMonitor
from agent.wire.processes import CollectRequest, ProcessConfig, ReportRequest, Rule
from agent.wire.releases import Check, CheckRequest, VersionProbe
from tests.older_wire import ROUTES, recorded


def _route(method: str, path: str, name: str | None, known: set[str]) -> Route:
    async def play(request: Request) -> Response:
        given = dict(request.query_params) if method in ("GET", "DELETE") else await request.json()
        unknown = sorted(set(given) - known)
        if unknown:
            return JSONResponse({"title": "Invalid", "status": 422, "detail": f"unknown: {unknown}"}, 422)
        return Response(status_code=204) if name is None else JSONResponse(recorded(name))

    return Route(path, play, methods=[method])


@pytest.fixture
async def older():
    app = Starlette(routes=[_route(*key, *value) for key, value in ROUTES.items()])
    async with agent_http_client(transport=httpx.ASGITransport(app)) as http:
        yield AgentApi(http, "http://agent", "a-token", client_id="web-1", fence=3)


RULES = (Rule(type="name", pattern="shop", name="shop"),)


async def test_info_of_the_oldest_wire_is_understood(older: AgentApi):
    info = await older.info()
    assert info.wire_version == OLDEST_WIRE_VERSION
    assert info.features == ()


async def test_execution_without_newer_fields_is_understood(older: AgentApi):
    request = ExecuteRequest(
        execution_id="e1",
        release_id="r1",
        project_id="shop",
        target_id="t1",
        operation="update",
        version="2.0",
        script="true",
        work_dir="/srv/shop",
        env={"A": "b"},
        timeout_s=60,
        interpreter="/bin/sh",
        detach_process=True,
        detach_method="setsid",
    )
    for execution in (
        await older.execute(request),
        await older.execution("e1", wait_s=5),
        await older.cancel("e1"),
    ):
        assert execution.state is ExecutionState.SUCCEEDED
        assert (execution.output_bytes, execution.detach_method) == (0, None)
    log = await older.log("e1", offset=2)
    assert (log.output, log.skipped_bytes) == ("done\n", 0)


async def test_fields_it_does_not_list_are_not_sent(older: AgentApi):
    probe = VersionProbe(type="command", command="shop --version")
    check = CheckRequest(
        project_id="shop",
        work_dir="/srv/shop",
        version_probe=probe,
        checks=(Check(type="tcp", port=80),),
        run_as="shop",
    )
    answer = await older.check(check)
    assert (answer.installed, answer.checks, answer.probe_error) == (True, None, None)
    monitor = PutMonitor(
        version="2.0",
        release_id="r1",
        process_config=ProcessConfig(rules=RULES),
        version_probe=probe,
        work_dir="/srv/shop",
        run_as="shop",
        containers=True,
    )
    assert (await older.put_monitor("shop", monitor)).spooled == 0
    await older.delete_monitor("shop")


async def test_processes_without_identity_are_understood(older: AgentApi):
    collected = await older.collect(CollectRequest(project_id="shop", rules=RULES))
    assert (collected.boot_id, collected.processes[0].start_ticks, collected.processes[0].is_root) == (
        None,
        None,
        None,
    )
    reported = await older.report(
        ReportRequest(project_id="shop", rules=RULES, version="2.0", release_id="r1")
    )
    assert (reported.delivered, reported.error) == (True, None)
