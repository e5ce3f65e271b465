"""The assembled agent: what its executions do is known to release.check and to the monitors."""

import asyncio

import httpx
import pytest

from agent.assembly import assemble
from agent.settings import AgentSettings

TOKEN = "the-agents-own-token-0123"


@pytest.fixture
async def http(tmp_path):
    settings = AgentSettings(client_id="web-01", state_dir=tmp_path / "state", token=TOKEN)
    settings.state_dir.mkdir(mode=0o700)
    guard = assemble(settings)
    transport = httpx.ASGITransport(app=guard)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    starlette = guard.app
    async with (
        starlette.router.lifespan_context(starlette),
        httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", headers=headers, timeout=90
        ) as client,
    ):
        yield client


async def execute(http, tmp_path, operation, script="true"):
    body = {"execution_id": f"e-{operation}", "release_id": "r", "project_id": "shop", "target_id": "t"}
    body |= {"operation": operation, "version": "1.0", "script": script, "work_dir": str(tmp_path)}
    body["detach_method"] = "setsid"
    answer = await http.post("/v1/commands/release.execute", json=body)
    assert answer.status_code == 202, answer.text
    done = await http.get(f"/v1/executions/{body['execution_id']}", params={"wait_s": 60})
    return done.json()["state"]


async def check(http, tmp_path):
    answer = await http.post(
        "/v1/commands/release.check", json={"project_id": "shop", "work_dir": str(tmp_path)}
    )
    return answer.json()["installed"], answer.json()["version"]


async def test_what_executions_installed_is_known_and_an_uninstall_ends_the_monitor(http, tmp_path):
    assert await check(http, tmp_path) == (False, None)
    assert await execute(http, tmp_path, "update", "exit 3") == "failed"
    assert await check(http, tmp_path) == (False, None)
    assert await execute(http, tmp_path, "install") == "succeeded"
    assert await check(http, tmp_path) == (True, "1.0")
    monitor = {"version": "1.0", "release_id": "r", "process_config": {}}
    assert (await http.put("/v1/monitors/shop", json=monitor)).status_code == 200
    assert await execute(http, tmp_path, "uninstall") == "succeeded"
    assert await check(http, tmp_path) == (False, None)
    assert (await http.get("/v1/monitors")).json() == []


async def test_agent_and_the_running_script_match_no_rule(http, tmp_path):
    rules = [{"type": "cmdline", "pattern": str(tmp_path), "name": "r"}]
    script = "until [ -e go ]; do sleep 0.1; done"
    body = {
        "execution_id": "e",
        "release_id": "r",
        "project_id": "shop",
        "target_id": "t",
        "operation": "install",
    }
    body |= {"version": "1.0", "script": script, "work_dir": str(tmp_path), "detach_method": "setsid"}
    assert (await http.post("/v1/commands/release.execute", json=body)).status_code == 202
    try:
        async with asyncio.timeout(60):
            while (await http.get("/v1/executions/e")).json()["pid"] is None:
                await asyncio.sleep(0.02)
        collected = await http.post(
            "/v1/commands/process.collect", json={"project_id": "shop", "rules": rules}
        )
        assert [p["cmdline"] for p in collected.json()["processes"]] == []
    finally:
        (tmp_path / "go").touch()
        done = await http.get("/v1/executions/e", params={"wait_s": 60})
    assert done.json()["state"] == "succeeded"
