"""Pods' alerts over HTTP, on both databases: reports are judged as they come, and each alert is told once."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from db.documents.kubernetes_config import ProjectKubernetes
from db.models import Alert, DeployResult, Installation, LatestPodReport, News, Project
from db.secrets import sha256_hex
from tasks.alerting.changing import apply_time
from tasks.fleet.offline import end_orphans
from tasks.planning import create_deploy_task
from tests.builders import NOW, create_client, create_fleet, upgrade_request

TOKEN = "the-report-token-of-cluster-01"
BOUND_S = 60
"""For what takes some seconds on an idle machine: tests share theirs."""


@pytest.fixture
def project(served):
    """Installed on cluster-01, in the namespace shop."""
    with served.database.write() as session:
        create_client(session, "cluster-01", report_token_sha256=sha256_hex(TOKEN))
        made, _ = create_fleet(session, {"cluster-01": "1.4"})
        configure(session)
        return made


def configure(session, **fields):
    config = ProjectKubernetes(namespace="shop", deployment="shop", **{"alert_for_s": 0, **fields})
    session.query(Project).filter_by(name="shop").one().kubernetes_config = config


@pytest.fixture
def agent(served, project):
    return served.client(TOKEN)


def at(**delta):
    return (datetime.now(UTC) + timedelta(**delta)).isoformat()


def pod(name="shop-1", restarts=0, **fields):
    base = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "phase": "Running", "ready": True}
    return {**base, "restart_count": restarts, **fields}


def crashing(name="shop-1", restarts=3, **fields):
    reason = "CrashLoopBackOff"
    container = {"name": "app", "image": "shop:1.5", "ready": False, "state": "waiting", "reason": reason}
    container |= {"last_reason": "OOMKilled", "exit_code": 137, "restart_count": restarts}
    return pod(name, restarts, ready=False, reason=reason, containers=[container], **fields)


def say(agent, *pods, **fields):
    body = {"client_id": "cluster-01", "pods": list(pods), "reported_at": at(), **fields}
    answer = agent.post("/release/pod-report", json=body)
    assert answer.status_code == 202, answer.text


def firing(operator, status="firing"):
    return operator.get("/release/alerts", params={"status": status}).json()


def types(operator):
    return sorted((one["type"], one["labels"].get("subject")) for one in firing(operator))


def told(served):
    with served.database.read() as session:
        return [(row.event, row.title) for row in session.query(News).order_by(News.id)]


def later(served, **delta):
    with served.database.write() as session:
        apply_time(session, datetime.now(UTC) + timedelta(**delta))


def test_crash_loop_is_one_alert_over_its_moments_of_running(operator, served, agent, project):
    say(agent, pod())
    assert firing(operator) == []
    say(agent, crashing())
    [fired] = firing(operator)
    assert (fired["type"], fired["level"], fired["source"]) == ("pod_failed", "critical", "pod")
    assert (fired["client_id"], fired["project_id"]) == ("cluster-01", project.id)
    assert fired["title"] == "shop on cluster-01: pod failed (shop/shop-1)"
    assert "CrashLoopBackOff (ended with OOMKilled, exit code 137, 3 restarts)" in fired["message"]
    assert fired["labels"]["subject"] == "shop/shop-1"
    say(agent, pod(restarts=4))
    say(agent, crashing(restarts=4))
    assert types(operator) == [("pod_failed", "shop/shop-1")]
    say(agent, pod(restarts=4))
    later(served, minutes=4)
    assert types(operator) == [("pod_failed", "shop/shop-1")]
    later(served, minutes=6)
    assert firing(operator) == []
    assert told(served) == [("firing", fired["title"]), ("resolved", f"resolved: {fired['title']}")]


def test_pod_that_is_taken_away_ends_its_alert_at_once(operator, agent, project):
    say(agent, crashing("shop-1"), pod("shop-2"))
    say(agent, pod("shop-2"))
    assert firing(operator) == []
    assert [one["type"] for one in firing(operator, "resolved")] == ["pod_failed"]


def test_restart_says_why(operator, served, agent, project):
    say(agent, pod(restarts=1))
    ended = {"name": "app", "image": "shop:1.5", "ready": True, "state": "running"}
    ended |= {"last_reason": "OOMKilled", "exit_code": 137, "restart_count": 2}
    say(agent, pod(restarts=2, containers=[ended]))
    [fired] = firing(operator)
    assert (fired["type"], fired["level"]) == ("pod_restarted", "warning")
    assert "2 times so far (app (ended with OOMKilled, exit code 137, 2 restarts))" in fired["message"]
    say(agent, pod(restarts=2, containers=[ended]))
    later(served, minutes=6)
    assert firing(operator) == []
    assert len(told(served)) == 2


def test_pod_that_is_not_ready_for_long_enough(operator, served, agent, project):
    with served.database.write() as session:
        configure(session, alert_for_s=120)
    say(agent, pod(phase="Pending", ready=False, reason="Unschedulable"))
    assert firing(operator) == []
    later(served, seconds=60)
    assert firing(operator) == []
    later(served, seconds=150)
    [fired] = firing(operator)
    assert (fired["type"], fired["level"]) == ("pod_not_ready", "warning")
    assert fired["message"] == "pod shop/shop-1 is not ready: Unschedulable"


def test_that_no_pod_is_left_is_told_of_what_is_installed(operator, agent, project):
    say(agent, pod())
    say(agent, pod("else", namespace="other"), namespace="other")
    assert firing(operator) == []
    say(agent, namespace="shop")
    [fired] = firing(operator)
    assert (fired["type"], fired["title"]) == ("pod_not_ready", "shop on cluster-01: pod not ready")
    say(agent, pod("shop-2"), namespace="shop")
    assert firing(operator) == []


def test_report_of_another_selection_leaves_alerts_alone(operator, agent, project):
    say(agent, crashing())
    for selection in ({"namespace": "other"}, {"label_selector": "app=x"}, {"truncated": True}):
        say(agent, **selection)
        assert ("pod_failed", "shop/shop-1") in types(operator), selection
    say(agent, pod("shop-2"), namespace="shop")
    assert firing(operator) == []


def test_what_a_deploy_task_does_is_no_alert_and_what_it_leaves_is(operator, served, agent, project):
    say(agent, pod())
    with served.database.write() as session:
        task = create_deploy_task(session, upgrade_request(project), now=NOW, who="ann")
        task.status = "running"
        session.query(DeployResult).one().status = "running"
    say(agent, pod(restarts=1), crashing("shop-2"), pod("shop-3", ready=False))
    assert firing(operator) == []
    with served.database.write() as session:
        result = session.query(DeployResult).one()
        result.status, result.finished_at = "failed", datetime.now(UTC)
    say(agent, pod(restarts=1), crashing("shop-2"))
    [fired] = firing(operator)
    assert fired["labels"]["subject"] == "shop/shop-2"
    assert fired["labels"]["deploy_task"] == task.id


def test_late_and_repeated_reports_raise_no_false_alert(operator, agent, project):
    say(agent, pod(), report_id="one")
    say(agent, crashing(), reported_at=at(seconds=-30))
    say(
        agent, crashing(), reported_at=at(hours=-1), namespace="shop"
    )  # the newest of its selection, and history
    say(agent, crashing(), report_id="one")
    assert firing(operator) == []


def test_failures_are_left_alone_where_the_project_says_so(operator, served, agent, project):
    with served.database.write() as session:
        configure(session, alert_on_failure=False)
    say(agent, crashing(), pod("shop-2", ready=False))
    assert types(operator) == [("pod_not_ready", "shop/shop-2")]


def test_alerts_of_a_client_that_is_gone_end(operator, served, agent, project):
    say(agent, crashing())
    with served.database.write() as session:
        assert end_orphans(session, datetime.now(UTC)) == 0
    assert len(firing(operator)) == 1
    assert operator.delete("/release/clients/cluster-01").status_code == 204
    with served.database.write() as session:
        assert end_orphans(session, datetime.now(UTC)) == 1
    assert firing(operator) == []


def end_orphans_in(served, **delta):
    with served.database.write() as session:
        return end_orphans(session, datetime.now(UTC) + timedelta(**delta))


def uninstall(served):
    with served.database.write() as session:
        session.query(Installation).one().status = "uninstalled"


def test_alerts_of_what_is_not_installed_end_once_no_pods_are_reported_any_more(
    operator, served, agent, project
):
    """Its target was deleted, and the heartbeat has deleted the monitor: the newest report stays, for days."""
    say(agent, crashing())
    assert end_orphans_in(served, days=20) == 0, "it is installed"
    uninstall(served)
    assert end_orphans_in(served, minutes=14) == 0, "the next report would end it"
    with served.database.write() as session:
        session.query(LatestPodReport).one().received_at = datetime.now(UTC) - timedelta(days=20)
    assert end_orphans_in(served) == 1
    assert end_orphans_in(served) == 0
    assert [event for event, _ in told(served)] == ["firing", "resolved"]


def test_alert_that_no_pod_is_left_ends_after_an_uninstall(operator, served, agent, project):
    """Its last report comes while the deploy task still runs there: what it does is not judged."""
    say(agent, pod())
    say(agent, namespace="shop")
    assert types(operator) == [("pod_not_ready", None)]
    with served.database.write() as session:
        task = create_deploy_task(session, upgrade_request(project), now=NOW, who="ann")
        task.status = session.query(DeployResult).one().status = "running"
    say(agent, namespace="shop")
    with served.database.write() as session:
        session.query(DeployResult).one().status = "success"
    uninstall(served)
    assert end_orphans_in(served) == 0
    assert end_orphans_in(served, minutes=16) == 1
    assert firing(operator) == []
    assert [event for event, _ in told(served)] == ["firing", "resolved"]


def test_ten_thousand_pods_a_thousand_of_them_failing_are_judged_in_bounded_time(served, agent, project):
    pods = [(pod if number % 10 else crashing)(f"shop-{number}") for number in range(10_000)]
    body = json.dumps({"client_id": "cluster-01", "pods": pods, "reported_at": at()}).encode()
    for again in (False, True):
        began = time.monotonic()
        sent = body if not again else body.replace(b'"restart_count": 3', b'"restart_count": 4')
        answer = agent.post("/release/pod-report", content=sent, timeout=BOUND_S)
        assert answer.status_code == 202, answer.text
        took_s = time.monotonic() - began
        print(
            f"10,000 pods, 1,000 of them failing, {'again' if again else 'for the first time'}: {took_s:.1f} s"
        )
        assert took_s < BOUND_S
    with served.database.read() as session:
        assert session.query(Alert).count() == 1_000
