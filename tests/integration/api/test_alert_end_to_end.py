"""A watched process dies, and a web hook hears of it: a real process, a real agent, the served API, both databases."""

import time
from datetime import UTC, datetime

import pytest

from agent.wire.processes import ProcessConfig, Rule
from db.models import Client, Version
from db.secrets import sha256_hex
from tests.agents import AgentProcess
from tests.builders import create_fleet
from tests.integration.api.test_notifications import WebHook, hook
from tests.real_processes import Processes, wait_until
from tests.served_api import serve_api

__all__ = ["hook"]

TOKEN = "the-report-token-of-web-1"


@pytest.fixture
def processes(tmp_path):
    started = Processes(tmp_path)
    yield started
    started.end()


@pytest.fixture
def notify_file(hook: WebHook, tmp_path, monkeypatch):
    path = tmp_path / "notify.toml"
    path.write_text(f'[[channel]]\nname = "ops"\nurl = "{hook.url}"\n')
    path.chmod(0o600)
    monkeypatch.setenv("HOIST_NOTIFY_FILE", str(path))


def test_killed_process_is_told_within_seconds_once_and_its_return_too(
    database, hook: WebHook, notify_file, tmp_path, processes: Processes
):
    rule = Rule(type="cmdline", pattern=f"hoist-alert-{tmp_path.name}", name="shop")
    config = ProcessConfig(rules=(rule,), collect_interval=5)
    with database.write() as session:
        project, _ = create_fleet(session, {"web-1": "1.4"})
        session.get(Client, "web-1").report_token_sha256 = sha256_hex(TOKEN)
        session.query(Version).filter_by(version="1.4").one().process_config = config
    monitor = {"version": "1.4", "release_id": "r1", "process_config": config.model_dump(mode="json")}
    monitor["process_config"].pop("alert_for_s")
    app = processes.python("import time; time.sleep(600)", rule.pattern)
    with serve_api(database) as api:
        agent = AgentProcess(tmp_path, HOIST_AGENT_API_URL=api.url, HOIST_AGENT_API_TOKEN=TOKEN)
        try:
            agent.start()
            assert agent.http.put(f"/v1/monitors/{project.id}", json=monitor).status_code == 200
            listed = lambda: api.operator.get("/release/projects/shop/processes").json()["clients"]
            wait_until(lambda: listed()[0]["status"] == "healthy")
            killed = time.monotonic()
            app.kill()
            app.wait()
            wait_until(lambda: hook.messages)
            print(f"told {time.monotonic() - killed:.2f} s after the kill, {datetime.now(UTC):%H:%M:%S}")
            assert time.monotonic() - killed < 15  # two seconds on an idle machine
            agent.kill()
            processes.python("import time; time.sleep(600)", rule.pattern)
            agent.start()
            wait_until(lambda: api.operator.get("/release/alerts?status=resolved").json())
        finally:
            agent.close()
        deadline = time.monotonic() + 90
        while len(hook.messages) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)  # collected for 30 s
    assert hook.titles == [
        "shop on web-1: process exit (shop)",
        "resolved: shop on web-1: process exit (shop)",
    ]
