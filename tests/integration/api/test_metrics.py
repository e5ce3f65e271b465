"""/metrics: what it says of the fleet, and that the dashboard and the rules ask for nothing else."""

import json
import re
from datetime import timedelta
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from db.documents.hold import HoldState
from db.models import Client, DeployTask, Freeze, Installation, utc_now
from tests.builders import create_fleet
from tests.integration.tasks.test_prefect_events import add_alert

ROOT = Path(__file__).resolve().parents[3]
UPGRADE = {"project_id": "shop", "version": "1.5", "operation": "update", "auto_select_clients": True}


def samples(served):
    text = served.viewer.get("/metrics").text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_fleet_s_state_is_what_the_rows_say(served, operator):
    now = utc_now()
    with served.database.write() as session:
        project, _ = create_fleet(session, {"a": "1.4", "b": "1.4", "c": "1.5"})
        project_id = project.id
        session.execute(update(Client).where(Client.client_id == "a").values(online=True))
        session.execute(update(Client).where(Client.client_id == "b").values(online=False, held_reason="x"))
        session.execute(update(Installation).where(Installation.client_id == "b").values(status="failed"))
        session.add(Freeze(reason="x", who="ops", until=now + timedelta(hours=1)))
        session.add(Freeze(reason="over", who="ops", until=now - timedelta(hours=1)))
    task = operator.post("/release/tasks", json={**UPGRADE, "include_failed": True}).json()["id"]
    with served.database.write() as session:
        row = session.get_one(DeployTask, task)
        row.hold = HoldState(kind="canary", wave=1, reason="x", since=now)
    add_alert(served.database, project_id)
    found = samples(served)
    assert found["hoist_clients_by_state", (("state", "online"),)] == 1
    assert found["hoist_clients_by_state", (("state", "offline"),)] == 1
    assert found["hoist_clients_by_state", (("state", "never heard of"),)] == 1
    assert found["hoist_clients_held", ()] == 1
    assert found["hoist_freezes", ()] == 1
    assert found["hoist_installed", (("project", "shop"), ("status", "failed"), ("version", "1.4"))] == 1
    assert found["hoist_deploy_tasks_waiting", (("for", "canary"),)] == 1
    key = (("level", "critical"), ("project", "shop"), ("type", "process_exit"))
    assert found["hoist_alerts_firing", key] == 1


def test_dashboard_and_rules_ask_for_what_is_there(served, operator):
    with served.database.write() as session:
        create_fleet(session, {"a": "1.4"})
    exported = {
        line.split()[2]
        for line in served.viewer.get("/metrics").text.splitlines()
        if line.startswith("# TYPE")
    }
    dashboard = json.loads((ROOT / "deployments/grafana/hoist.json").read_text())
    rules = yaml.safe_load((ROOT / "deployments/prometheus/hoist-rules.yaml").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    named = {name for expression in asked for name in re.findall(r"\bhoist_\w+", expression)}
    assert len(named) > 8
    assert named <= exported, named - exported
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    assert all(rule["annotations"]["summary"] for group in rules["groups"] for rule in group["rules"])
