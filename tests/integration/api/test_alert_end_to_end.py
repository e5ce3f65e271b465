"""A watched process dies, and a web hook hears of it: a real process, a real agent, the served API, both databases."""

import contextlib
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from subprocess import Popen

import pytest
from sqlalchemy import select

from agent.wire.processes import ProcessConfig, Rule
from db.models import Client, LatestProcessReport, Version
from db.secrets import sha256_hex
from tests.agents import AgentProcess
from tests.builders import create_fleet
from tests.integration.api.test_notifications import WebHook, hook, told
from tests.real_processes import Processes, wait_until
from tests.served_api import serve_api

__all__ = ["hook"]

TOKEN = "the-report-token-of-web-1"
SLEEPS = "import time; time.sleep(600)"
BACK_AFTER_S = 0.8
TOLD_WITHIN_S, TRIES = 2.0, 4
"""A busy machine gets more than one try."""


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


@contextlib.contextmanager
def watched_shop(
    database, folder: Path, processes: Processes
) -> Iterator[tuple[AgentProcess, str, Popen[bytes]]]:
    """The client's agent, what its one process is matched by, and that process, which the release API knows."""
    rule = Rule(type="cmdline", pattern=f"hoist-alert-{folder.name}", name="shop")
    config = ProcessConfig(rules=(rule,), collect_interval=5)
    with database.write() as session:
        project, _ = create_fleet(session, {"web-1": "1.4"})
        session.get(Client, "web-1").report_token_sha256 = sha256_hex(TOKEN)
        session.query(Version).filter_by(version="1.4").one().process_config = config
    monitor = {"version": "1.4", "release_id": "r1", "process_config": config.model_dump(mode="json")}
    monitor["process_config"].pop("alert_for_s")
    app = processes.python(SLEEPS, rule.pattern)
    with serve_api(database) as api:
        agent = AgentProcess(folder, HOIST_AGENT_API_URL=api.url, HOIST_AGENT_API_TOKEN=TOKEN)
        try:
            agent.start()
            assert agent.http.put(f"/v1/monitors/{project.id}", json=monitor).status_code == 200
            listed = lambda: api.operator.get("/release/projects/shop/processes").json()["clients"]
            wait_until(lambda: listed()[0]["status"] == "healthy")
            yield agent, rule.pattern, app
        finally:
            agent.close()


def test_killed_process_is_told_within_seconds_once_and_its_return_too(
    database, hook: WebHook, notify_file, tmp_path, processes: Processes
):
    with watched_shop(database, tmp_path, processes) as (agent, pattern, first):
        app = first
        told_after = []
        while not told_after or (min(told_after) > TOLD_WITHIN_S and len(told_after) < TRIES):
            if told_after:
                time.sleep(31)  # until what is told is a group's first message again
            told_after.append(told_after_kill(app, hook))
            agent.kill()
            app = processes.python(SLEEPS, pattern)
            agent.start()
            wait_for_messages(hook, 2 * len(told_after))
        wait_for_reports(database)
    print(f"told {told_after} s after the kills")
    assert min(told_after) <= TOLD_WITHIN_S
    assert hook.titles == [
        "shop on web-1: process exit (shop)",
        "resolved: shop on web-1: process exit (shop)",
    ] * len(told_after)
    assert told(database, "process_exit") == [("firing", "ops"), ("resolved", "ops")] * len(told_after)


def test_process_that_is_back_within_a_second_is_told_as_one_restart(
    database, hook: WebHook, notify_file, tmp_path, processes: Processes
):
    with watched_shop(database, tmp_path, processes) as (_, pattern, first):
        app = first
        for _ in range(TRIES):
            before = len(hook.messages)
            app.kill()
            app.wait()
            time.sleep(BACK_AFTER_S)
            app = processes.python(SLEEPS, pattern)
            wait_for_messages(hook, before + 1)
            if "restart" in hook.titles[-1]:
                break
            wait_for_messages(hook, before + 2)  # the machine was too busy: the exit, and its end
            time.sleep(31)
        wait_for_reports(database)
    assert hook.titles[before:] == ["shop on web-1: process restart (shop)"]
    assert told(database, "process_restart") == [("firing", "ops")]
    assert told(database, "process_exit") == [("firing", "ops"), ("resolved", "ops")] * (before // 2)


def told_after_kill(app, hook: WebHook) -> float:
    """Kill it; the seconds until the web hook hears of it."""
    before, killed = len(hook.messages), time.monotonic()
    app.kill()
    app.wait()
    wait_for_messages(hook, before + 1)
    return round(time.monotonic() - killed, 2)


def wait_for_messages(hook: WebHook, count: int) -> None:
    """What is no group's first message is collected for 30 s."""
    deadline = time.monotonic() + 90
    while len(hook.messages) < count:
        assert time.monotonic() < deadline, hook.titles
        time.sleep(0.01)


def wait_for_reports(database) -> None:
    """Two more are judged: whatever would be told anew is written by then, if not sent."""
    for _ in range(2):
        before = newest_report(database)
        wait_until(lambda: newest_report(database) > before)  # noqa: B023 (it is called at once)


def newest_report(database) -> datetime:
    with database.read() as session:
        return session.scalars(select(LatestProcessReport.reported_at)).one()
