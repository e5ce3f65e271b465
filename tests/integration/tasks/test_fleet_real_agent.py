"""The scheduled flows with a real agent, the served API and a real Prefect server, on both databases."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from agent.wire.processes import ProcessConfig, Rule
from db.models import Alert, Client, Delivery, LatestProcessReport, News, utc_now
from db.secrets import load_secret_key, sha256_hex
from flows.heartbeat import heartbeat
from flows.watch import watch
from tests.agents import TOKEN, AgentProcess
from tests.builders import (
    create_client,
    create_environment,
    create_installation,
    create_project,
    create_target,
    create_version,
)
from tests.integration.api.test_notifications import WebHook, hook
from tests.real_processes import Processes, wait_until
from tests.served_api import serve_api

__all__ = ["hook"]

REPORT_TOKEN = "the-report-token-of-web-1"


class Site:
    """One client with shop 1.4 installed, its agent, and the API that it reports to."""

    def __init__(self, database, api, agent, project_id, config):
        self.database, self.api, self.agent = database, api, agent
        self.project_id, self.config = project_id, config

    def monitors(self):
        return {one["project_id"]: one for one in self.agent.get("/v1/monitors")}

    def put(self, project_id, **process_config):
        body = {"version": "1.4", "release_id": "somebody", "process_config": process_config}
        answer = self.agent.http.put(f"/v1/monitors/{project_id}", json=body)
        assert answer.status_code == 200, answer.text

    def reported(self):
        with self.database.read() as session:
            return {row.project_id: row.received_at for row in session.scalars(select(LatestProcessReport))}

    def wait_for_report(self, project_id):
        """One that comes from now on."""
        now = utc_now()
        wait_until(lambda: self.reported().get(project_id, now) > now)

    def age_reports(self):
        """Nothing was heard for ten minutes."""
        with self.database.write() as session:
            session.execute(update(LatestProcessReport).values(received_at=utc_now() - timedelta(minutes=10)))

    def client(self):
        with self.database.read() as session:
            return session.get_one(Client, "web-1")

    def alerts(self):
        with self.database.read() as session:
            return session.scalars(select(Alert).where(Alert.type == "client_offline")).all()


@pytest.fixture
def site(database, database_url, tmp_path, monkeypatch, prefect_api, hook: WebHook):
    notify = tmp_path / "notify.toml"
    notify.write_text(f'[[channel]]\nname = "ops"\nurl = "{hook.url}"\n')
    notify.chmod(0o600)
    monkeypatch.setenv("HOIST_NOTIFY_FILE", str(notify))
    monkeypatch.setenv("HOIST_DATABASE_URL", database_url)
    monkeypatch.setenv("HOIST_SECRET_KEY_FILE", str(tmp_path / "secret.key"))
    processes = Processes(tmp_path)
    rule = Rule(type="cmdline", pattern=f"hoist-fleet-{tmp_path.name}", name="app")
    config = ProcessConfig(rules=(rule,), collect_interval=5)
    processes.python("import time; time.sleep(600)", rule.pattern)
    with serve_api(database) as api:
        agent = AgentProcess(tmp_path, HOIST_AGENT_API_URL=api.url, HOIST_AGENT_API_TOKEN=REPORT_TOKEN)
        with database.write() as session:
            client = create_client(
                session,
                "web-1",
                url=f"http://127.0.0.1:{agent.port}",
                token_encrypted=load_secret_key().encrypt(TOKEN),
                report_token_sha256=sha256_hex(REPORT_TOKEN),
                held_reason="held clients are watched too",
            )
            project = create_project(session, "shop")
            create_version(session, project, "1.4", process_config=config)
            target = create_target(session, create_environment(session, project), client)
            create_installation(session, target, "1.4", last_updated_at=utc_now())
        try:
            agent.start()
            yield Site(database, api, agent, project.id, config)
        finally:
            agent.close()
            processes.end()


async def beat():
    state = await heartbeat(return_state=True, silent_for_s=60, ask_timeout_s=5)
    assert state.is_completed(), state.message
    return state.message


async def test_monitors_are_put_right_whatever_was_done_to_them(site: Site):
    assert await beat() == "1 were asked: 1 online, 0 offline, 1 monitors put right"
    assert site.monitors()[site.project_id]["process_config"]["rules"][0]["name"] == "app"
    site.wait_for_report(site.project_id)
    said = await beat()
    assert said.startswith("nobody") or said.endswith("0 monitors put right"), "as it should be"

    assert site.agent.http.delete(f"/v1/monitors/{site.project_id}").status_code == 204
    site.age_reports()
    assert (await beat()).endswith("1 monitors put right")
    site.wait_for_report(site.project_id)

    site.put(site.project_id, rules=[{"type": "port", "pattern": "1", "name": "other"}], collect_interval=5)
    site.wait_for_report(site.project_id)
    assert (await beat()).endswith("1 monitors put right"), "its reports speak of other rules"
    assert [rule["name"] for rule in site.monitors()[site.project_id]["process_config"]["rules"]] == ["app"]
    site.wait_for_report(site.project_id)

    with site.database.write() as session:
        blog = create_project(session, "blog")
        create_target(session, create_environment(session, blog), session.get_one(Client, "web-1"))
    site.put(blog.id, collect_interval=5)
    site.wait_for_report(blog.id)
    assert (await beat()).endswith("1 monitors put right"), "blog is not installed there"
    assert set(site.monitors()) == {site.project_id}


async def test_changed_rules_reach_the_agent_without_a_deployment(site: Site):
    await beat()
    site.wait_for_report(site.project_id)
    [version] = site.api.operator.get("/release/projects/shop/versions").json()
    changed = {**site.config.model_dump(mode="json"), "alert_on_high_cpu": 90, "collect_interval": 7}
    answer = site.api.operator.patch(f"/release/versions/{version['id']}", json={"process_config": changed})
    assert answer.status_code == 200, answer.text
    assert (await beat()).endswith("1 monitors put right")
    assert site.monitors()[site.project_id]["process_config"]["collect_interval"] == 7
    assert (await beat()).endswith("0 monitors put right")


async def test_client_that_is_stopped_is_told_of_once_and_so_is_its_return(site: Site, hook: WebHook):
    await beat()
    site.wait_for_report(site.project_id)
    await watch(offline_for_s=60)
    site.agent.kill()
    site.age_reports()
    assert (await beat()) == "1 were asked: 0 online, 1 offline, 0 monitors put right"
    shown = site.api.viewer.get("/release/clients/web-1").json()
    assert (shown["online"], shown["held"]["reason"]) == (False, "held clients are watched too")
    await watch(offline_for_s=60)
    assert [one.fired_at for one in site.alerts()] == [None], "not for so long yet"
    with site.database.write() as session:
        session.execute(update(Client).values(online_since=utc_now() - timedelta(minutes=2)))
    for _ in range(2):
        await watch(offline_for_s=60)
    wait_until(lambda: hook.messages)
    site.agent.start()
    site.wait_for_report(site.project_id)
    await beat()
    assert site.client().online is True
    for _ in range(2):
        await watch(offline_for_s=60)
    [alert] = site.alerts()
    assert (alert.client_id, alert.level) == ("web-1", "critical")
    assert alert.fired_at is not None
    assert alert.resolved_at is not None
    assert hook.titles == ["web-1: client offline"]
    with site.database.read() as session:
        told = session.execute(
            select(News.event, Delivery.channel)
            .join(Delivery, Delivery.news_id == News.id)
            .where(Delivery.channel == "ops")  # Prefect hears of it too, as an event
            .order_by(News.id)
        ).all()
    assert told == [("firing", "ops"), ("resolved", "ops")]
