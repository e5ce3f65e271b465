"""Alerts as events in a real Prefect server: once each, later where it is away, and the automation that the guide shows."""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest
import yaml
from sqlalchemy import select, update

from db.documents.silences import Matcher
from db.models import Alert, Delivery, News, Silence
from deployments.demo.environment import CODE
from flows.watch import watch
from tasks.alerting.changing import Look, Place, apply_observations, end_alert
from tasks.alerting.channels import load_channels
from tasks.alerting.events import EVENTS, PrefectServer
from tasks.alerting.sending import send_news
from tasks.decisions.alerts import Timing
from tasks.decisions.observed import Observed
from tasks.errors import PermanentTaskError
from tests.builders import create_project
from tests.integration.tasks.conftest import prefect_api
from tests.prefect_server import prefect_server
from tests.real_processes import wait_until
from tests.served_api import closed_port, serve_api

__all__ = ["prefect_api", "prefect_server"]

GUIDE = CODE / "docs" / "how-to" / "alerts.md"


def now():
    return datetime.now(UTC)


@pytest.fixture
def client_id():
    """One that no other test's events are about."""
    return f"web-{uuid4().hex[:12]}"


@pytest.fixture
def project(database):
    with database.write() as session:
        return create_project(session, "shop")


def observe(database, client_id, project, *, holds=True, type_="process_exit"):
    """What was seen of the rule `main`; the alert's id."""
    place = Place(client_id, {"rack": "r1"}, project.id, project.name, "1.4", "prod")
    seen = Observed(type_, "main", holds, Timing(), "no process matches the rule main")
    with database.write() as session:
        live = session.scalars(
            select(Alert).where(Alert.client_id == client_id, Alert.resolved_at.is_(None))
        ).all()
        after = apply_observations(session, place, [seen], live, Look(now(), now()))
        return (after or live)[0].id


def news_ids(database):
    with database.read() as session:
        return list(session.scalars(select(News.id).order_by(News.id)))


def statuses(database):
    with database.read() as session:
        return [
            tuple(row) for row in session.execute(select(Delivery.channel, Delivery.status, Delivery.error))
        ]


def events_of(server, client_id):
    """The server's events about the client, the oldest first."""
    related = {"id": [f"hoist.client.{client_id}"], "role": ["client"]}
    wanted = {"filter": {"related": related, "order": "ASC"}, "limit": 50}
    answer = httpx.post(f"{server.url}/events/filter", json=wanted, timeout=30).raise_for_status()
    return answer.json()["events"]


def test_served_api_tells_prefect_of_each_change_once(database, project, prefect_server, client_id):
    with serve_api(database, prefect_url=prefect_server.url):
        alert_id = observe(database, client_id, project)
        wait_until(lambda: len(events_of(prefect_server, client_id)) == 1)
        observe(database, client_id, project)
        observe(database, client_id, project, holds=False)
        wait_until(lambda: len(events_of(prefect_server, client_id)) == 2)
    fired, resolved = events_of(prefect_server, client_id)
    assert [one["id"] for one in (fired, resolved)] == news_ids(database)
    assert [one["event"] for one in (fired, resolved)] == ["hoist.alert.fired", "hoist.alert.resolved"]
    assert fired["resource"]["prefect.resource.id"] == resolved["resource"]["prefect.resource.id"]
    labels = {name: value for name, value in fired["resource"].items() if name.startswith("hoist.")}
    assert labels == {
        "hoist.type": "process_exit",
        "hoist.level": "critical",
        "hoist.client": client_id,
        "hoist.project": "shop",
        "hoist.environment": "prod",
    }
    assert {one["prefect.resource.id"] for one in fired["related"]} == {
        f"hoist.client.{client_id}",
        f"hoist.project.{project.id}",
    }
    payload = fired["payload"]
    assert (payload["alert_id"], payload["subject"], payload["labels"]["rack"]) == (alert_id, "main", "r1")
    assert (payload["resolved_at"], resolved["payload"]["resolved_at"] is None) == (None, False)
    assert statuses(database) == [(EVENTS, "sent", None)] * 2


def test_event_that_is_sent_twice_is_one(database, project, prefect_server, client_id):
    """As by a sender that dies after the server took it, before that was written down."""
    sent = []

    def dying(events):
        assert PrefectServer(prefect_server.url).post(events) is None
        sent.extend(events)
        raise KeyboardInterrupt

    observe(database, client_id, project)
    with pytest.raises(KeyboardInterrupt):
        send_news(database, (), now(), post=dying)
    for seconds in (1, 121, 300):
        send_news(
            database, (), now() + timedelta(seconds=seconds), post=PrefectServer(prefect_server.url).post
        )
    wait_until(lambda: events_of(prefect_server, client_id))
    marker = {**sent[0], "id": str(uuid4()), "event": "after.it"}
    assert PrefectServer(prefect_server.url).post([marker]) is None
    wait_until(lambda: events_of(prefect_server, client_id)[-1]["event"] == "after.it")
    assert [one["event"] for one in events_of(prefect_server, client_id)] == ["hoist.alert.fired", "after.it"]


async def test_server_that_is_away_is_told_later_by_the_watch(
    database, database_url, project, prefect_api, prefect_server, client_id, monkeypatch
):
    monkeypatch.setenv("HOIST_DATABASE_URL", database_url)
    observe(database, client_id, project)
    away = PrefectServer(f"http://127.0.0.1:{closed_port()}/api")
    send_news(database, (), now(), post=away.post)
    assert statuses(database) == [(EVENTS, "waiting", "the Prefect server can't be reached (ConnectError)")]
    await watch()
    assert statuses(database)[0][1] == "waiting", "not for five seconds"
    with database.write() as session:
        session.execute(update(Delivery).values(next_at=now()))
    await watch()
    assert statuses(database)[0] == (EVENTS, "sent", None)
    wait_until(lambda: len(events_of(prefect_server, client_id)) == 1)


def test_silenced_alert_is_no_event_and_neither_is_its_end(database, project, client_id):
    with database.write() as session:
        session.add(
            Silence(
                matchers=(Matcher(name="client_id", value=client_id),),
                starts_at=now() - timedelta(seconds=1),
                ends_at=now() + timedelta(hours=1),
                created_by="ann",
                comment="x",
                who="operator",
            )
        )
    alert_id = observe(database, client_id, project)
    posted = []
    send_news(database, (), now(), post=posted.extend)
    with database.write() as session:
        end_alert(session, session.get_one(Alert, alert_id), now())
    for _ in range(2):
        send_news(database, (), now(), post=posted.extend)
    assert posted == []


def test_a_thousand_at_once_are_few_requests(database, project):
    with database.write() as session:
        for number in range(450):
            seen = Observed("process_exit", "main", True, Timing(), "gone")
            place = Place(f"web-{number}", {}, project.id, project.name)
            apply_observations(session, place, [seen], [], Look(now(), now()))
    requests = []
    for _ in range(4):
        send_news(database, (), now(), post=lambda events: requests.append(len(events)))
    assert requests == [200, 200, 50]


def test_answer_of_a_server_is_said_and_no_secret(client_id):
    refused = PrefectServer(f"http://127.0.0.1:{closed_port()}/api", "admin:secret")
    assert refused.post([]) == "the Prefect server can't be reached (ConnectError)"
    assert "secret" not in repr(refused)
    assert "PREFECT_API_URL" in (PrefectServer(None).post([]) or "")


def test_no_channel_is_called_like_prefects(tmp_path):
    path = tmp_path / "notify.toml"
    path.write_text(f'[[channel]]\nname = "{EVENTS}"\nurl = "json://h/x"\n')
    path.chmod(0o600)
    with pytest.raises(PermanentTaskError, match="Prefect's"):
        load_channels({"HOIST_NOTIFY_FILE": str(path)})


@pytest.fixture
def collect_logs(prefect_server):
    """A deployment as an operator has it."""
    flow = httpx.post(f"{prefect_server.url}/flows/", json={"name": "collect-logs"}, timeout=30).json()
    body = {"name": f"ops-{uuid4().hex[:8]}", "flow_id": flow["id"]}
    return httpx.post(f"{prefect_server.url}/deployments/", json=body, timeout=30).json()["id"]


def test_automation_of_the_guide_runs_a_deployment_for_the_client(
    database, project, prefect_server, collect_logs, client_id, tmp_path
):
    [example] = [
        text for text in re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL) if "trigger:" in text
    ]
    file = tmp_path / "collect-logs.yaml"
    file.write_text(example.replace("00000000-0000-0000-0000-000000000000", collect_logs))
    env = os.environ | {"PREFECT_API_URL": prefect_server.url, "PREFECT_HOME": str(tmp_path / "prefect")}
    command = [
        sys.executable,
        "-m",
        "prefect",
        "--no-prompt",
        "automation",
        "create",
        "--from-file",
        str(file),
    ]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    name = yaml.safe_load(example)["name"]

    other = f"{client_id}-cpu"
    observe(database, other, project, type_="process_cpu_high")
    observe(database, client_id, project)

    def runs():
        send_news(database, (), now(), post=PrefectServer(prefect_server.url).post)
        wanted = {"deployments": {"id": {"any_": [collect_logs]}}}
        found = httpx.post(f"{prefect_server.url}/flow_runs/filter", json=wanted, timeout=30).json()
        return [one["parameters"] for one in found]

    wait_until(runs)
    wait_until(lambda: len(events_of(prefect_server, other)) == 1)
    observe(database, client_id, project, holds=False)
    runs()
    wait_until(lambda: len(events_of(prefect_server, client_id)) == 2)
    assert runs() == [{"client_id": client_id}], name
