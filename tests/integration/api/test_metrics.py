"""/metrics on both databases: what the rows say, what this process counted, and nothing without end."""

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import event, select

from api.metrics import fleet as fleet_metrics
from api.metrics.fleet import OTHER, FleetMetrics, bounded
from db.ids import new_id
from db.models import (
    Client,
    Delivery,
    DeployTask,
    Installation,
    LatestContainerReport,
    LatestProcessReport,
    News,
    utc_now,
)
from db.secrets import sha256_hex
from db.session import Database, make_engine
from tasks.alerting.prefect_events import NAME as PREFECT_EVENTS
from tasks.planning import create_deploy_task
from tests.builders import (
    NOW,
    create_container_project,
    create_environment,
    create_fleet,
    create_installation,
    create_target,
    make_alert,
    upgrade_request,
)
from tests.metrics import read_metrics, samples_of
from tests.served_api import closed_port, serve_api


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Figures are read anew for every look, but where a test says otherwise."""
    monkeypatch.setattr(fleet_metrics, "READ_AGAIN_S", 0.0)


@pytest.fixture
def project(database):
    with database.write() as session:
        return create_fleet(session, {"c1": "1.4", "c2": "1.4", "c3": "1.5"})[0]


def report(api, project, client="c1", **fields):
    said = {"client_id": client, "project_id": project.id, "version": "1.4", "processes": []}
    said |= {"reported_at": datetime.now(UTC).isoformat(), "report_id": new_id(), **fields}
    return api.post("/release/process-report", json=said)


def boxes(api, client="c1", **fields):
    said = {"client_id": client, "containers": [], "reported_at": datetime.now(UTC).isoformat(), **fields}
    return api.post("/release/container-report", json=said)


def pods(api, client, namespace=None, **fields):
    said = {"client_id": client, "namespace": namespace, "pods": []}
    said |= {"reported_at": datetime.now(UTC).isoformat(), **fields}
    return api.post("/release/pod-report", json=said)


def test_values_follow_the_rows(served, database, project):
    before = read_metrics(served.viewer)
    assert before["hoist_projects",] == 1
    assert before["hoist_clients",] == 3
    assert before["hoist_clients_online",] == before["hoist_clients_offline",] == 0
    assert before["hoist_project_installations", "shop", "installed", "1.4"] == 2
    assert before["hoist_alerts_firing", "critical", "process_exit"] == 0
    with database.write() as session:
        create_deploy_task(session, upgrade_request(project), now=NOW, who="ann")
        one, two, three = session.scalars(select(Client).order_by(Client.client_id))
        one.online, two.online, three.online = True, False, True
        one.held_reason, two.held_reason = "broken", "was broken"
        two.held_until = utc_now() - timedelta(seconds=1)
        session.add_all(
            [
                make_alert("process_exit", "critical"),
                make_alert("process_exit", "critical"),
                make_alert("process_exit", "critical", resolved=True),
                make_alert("process_cpu_high", "warning", fired=False),
            ]
        )
        session.scalar(select(Installation).where(Installation.client_id == "c2")).status = "failed"
    after = read_metrics(served.viewer)
    assert (after["hoist_clients_online",], after["hoist_clients_offline",]) == (2, 1)
    assert after["hoist_clients_held",] == 1
    assert after["hoist_installations", "failed"] == 1
    assert after["hoist_installations", "installed"] == 2
    assert after["hoist_project_installations", "shop", "failed", "1.4"] == 1
    assert after["hoist_project_installations", "shop", "installed", "1.5"] == 1
    assert after["hoist_alerts_firing", "critical", "process_exit"] == 2
    assert after["hoist_alerts_firing", "warning", "process_cpu_high"] == 0
    assert after["hoist_deploy_tasks", "pending"] == 1
    assert after["hoist_deploy_results", "pending"] == 2
    with database.write() as session:
        session.scalar(select(DeployTask)).status = "failed"
    done = read_metrics(served.viewer)
    assert (done["hoist_deploy_tasks", "pending"], done["hoist_deploy_tasks", "failed"]) == (0, 1)
    assert ("hoist_deploy_results", "pending") not in done


def test_news_that_does_not_leave_is_seen(database):
    """Without the API's own housekeeping, which gives news to channels while the test looks."""
    now = utc_now()
    with database.write() as session:
        told = [
            News(event="firing", level="info", title="t", body="b", at=now, routed_at=at)
            for at in (None, now, now, now, now)
        ]
        session.add_all(told)
        session.flush()
        deliveries = (
            ("ops", "waiting", 60),
            ("dev", "waiting", 30),
            ("ops", "failed", 90_000),
            ("ops", "sent", 90),
        )
        for news, (channel, status, age) in zip(told[1:], deliveries, strict=True):
            for to, older in ((channel, 0), (PREFECT_EVENTS, 1000)):
                made = now - timedelta(seconds=age + older)
                session.add(
                    Delivery(news_id=news.id, channel=to, status=status, created_at=made, next_at=made)
                )
    registry = CollectorRegistry()
    registry.register(FleetMetrics(database))
    found = samples_of(generate_latest(registry).decode())
    assert found["hoist_news_unrouted",] == 1
    for to, oldest_s in (("channels", 60), ("prefect", 1060)):
        assert (found["hoist_deliveries_waiting", to], found["hoist_deliveries_failed", to]) == (2, 1)
        assert oldest_s <= found["hoist_deliveries_waiting_oldest_seconds", to] < oldest_s + 600


def test_reports_are_counted_by_what_became_of_them(served, project):
    api = served.operator
    assert report(api, project, report_id="a").status_code == 202
    assert report(api, project, report_id="a").status_code == 202
    key = {"Idempotency-Key": "k-1"}
    said = {"client_id": "c1", "project_id": project.id, "version": "1.4", "processes": [], "report_id": "b"}
    said["reported_at"] = datetime.now(UTC).isoformat()
    for _ in range(2):  # the second is answered from what the first was answered
        assert api.post("/release/process-report", json=said, headers=key).status_code == 202
    assert report(api, project, "nobody").status_code == 404
    assert report(api, project, version=7).status_code == 422
    assert report(served.client("wrong"), project).status_code == 401
    assert boxes(api).status_code == 202
    found = read_metrics(served.viewer)
    counts = {key[1:]: value for key, value in found.items() if key[0] == "hoist_reports_total"}
    assert counts["process", "ingested"] == 2
    assert counts["process", "duplicate"] == 1
    assert counts["process", "refused"] == 3
    assert counts["process", "failed"] == 0
    assert counts["container", "ingested"] == 1
    assert found["hoist_reports_clock_off_total", "process"] == 0
    assert found["hoist_ingest_wait_seconds_count", "process"] == 3  # the one with a key waits for no batch
    assert found["hoist_ingest_batch_reports_sum", "process"] == 3
    assert found["hoist_ingest_waiting_reports", "process"] == 0


def test_what_agents_dropped_is_counted_once_by_whichever_process_is_asked(database, database_url, project):
    with serve_api(database) as one, serve_api(database) as two:
        assert report(one.operator, project, "c1", dropped_reports=5).status_code == 202
        assert report(two.operator, project, "c1", dropped_reports=7).status_code == 202
        assert report(two.operator, project, "c2", dropped_reports=2).status_code == 202
        late = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        assert report(one.operator, project, "c1", dropped_reports=1, reported_at=late).status_code == 202
        assert boxes(one.operator, "c3", dropped_reports=4).status_code == 202
        # Each says how many of all its client's it is: the newest counts, of whichever selection.
        assert pods(one.operator, "c1", "web", dropped_reports=3).status_code == 202
        assert pods(two.operator, "c1", "db", dropped_reports=6).status_code == 202
        assert pods(two.operator, "c2", dropped_reports=2).status_code == 202
        assert pods(one.operator, "c3", "web", dropped_reports=9, reported_at=late).status_code == 202
        assert pods(one.operator, "c3", "db").status_code == 202  # an agent that began anew
        found = [read_metrics(api.viewer) for api in (one, two)]
    for each in found:
        assert each["hoist_spool_dropped_reports", "process"] == 9
        assert each["hoist_spool_dropped_reports", "container"] == 4
        assert each["hoist_spool_dropped_reports", "pod"] == 8
        assert each["hoist_clients",] == 3
    ingested = [each["hoist_reports_total", "process", "ingested"] for each in found]
    assert ingested == [2, 2], "what a process counts is its own"


def test_age_of_the_oldest_newest_report(served, database, project):
    assert ("hoist_oldest_report_age_seconds", "process") not in read_metrics(served.viewer)
    with database.write() as session:
        boxes_project = create_container_project(session, "boxes")
        target = create_target(session, create_environment(session, boxes_project), "c1")
        create_installation(session, target, "1.0")
    for client in ("c1", "c2", "c3"):
        assert report(served.operator, project, client).status_code == 202
        assert boxes(served.operator, client).status_code == 202
    with database.write() as session:
        ages = {
            ("c1", LatestProcessReport): 50,
            ("c2", LatestProcessReport): 500,
            ("c1", LatestContainerReport): 70,
        }
        ages |= {("c2", LatestContainerReport): 5000}  # has no containers of a project's: not waited for
        for (client, table), age in ages.items():
            row = session.scalar(select(table).where(table.client_id == client))
            row.received_at = utc_now() - timedelta(seconds=age)
    found = read_metrics(served.viewer)
    assert 500 <= found["hoist_oldest_report_age_seconds", "process"] < 5000
    assert 70 <= found["hoist_oldest_report_age_seconds", "container"] < 500
    with database.write() as session:
        session.scalar(select(Installation).where(Installation.client_id == "c2")).status = "uninstalled"
    assert 50 <= read_metrics(served.viewer)["hoist_oldest_report_age_seconds", "process"] < 500


def test_a_client_more_is_no_series_more(served, database, project):
    before = read_metrics(served.viewer)
    with database.write() as session:
        create_fleet(session, {f"d{n}": "1.4" for n in range(20)}, project_name="api")
    for number in range(20):
        report(served.operator, project, f"d{number}")
    after = read_metrics(served.viewer)
    new = {key[0] for key in after.keys() - before.keys()}
    assert new <= {"hoist_project_installations", "hoist_api_requests_total"}
    assert not any("d1" in key or "c1" in key for key in after)


def test_projects_and_versions_without_end_are_few_series():
    many = {("shop", f"1.{n}", "installed"): n for n in range(1, 2001)} | {("shop", "2", "failed"): 1}
    found = bounded(many, limit=10)
    assert len(found) == 12
    assert found["shop", "1.2000", "installed"] == 2000
    assert sum(found.values()) == sum(many.values())
    assert found[OTHER, OTHER, "failed"] == 1
    taken = bounded({(OTHER, OTHER, "installed"): 9, ("shop", "1", "installed"): 1}, limit=1)
    assert taken == {(OTHER, OTHER, "installed"): 10}


def test_names_are_escaped(served, database):
    name = 'a "b" \\ c\nd'
    with database.write() as session:
        create_fleet(session, {"c1": "1.4"}, project_name=name)
    assert read_metrics(served.viewer)["hoist_project_installations", name, "installed", "1.4"] == 1


def test_database_is_asked_once_in_a_few_seconds(database, project, monkeypatch):
    monkeypatch.setattr(fleet_metrics, "READ_AGAIN_S", 5.0)
    clock = [100.0]
    gauges = FleetMetrics(database, clock=lambda: clock[0])

    def clients():
        return next(one for one in gauges.collect() if one.name == "hoist_clients").samples[0].value

    assert clients() == 3
    with database.write() as session:
        create_fleet(session, {"d1": "1.4"}, project_name="api")
    clock[0] += 4.9
    assert clients() == 3
    clock[0] += 0.2
    assert clients() == 4


def test_database_that_is_away_costs_the_fleet_s_figures_alone(database):
    gone = Database(make_engine(f"postgresql+psycopg://nobody@127.0.0.1:{closed_port()}/none"))
    with serve_api(gone) as api:
        found = read_metrics(api.viewer)
    gone.close()
    assert found["hoist_database_up",] == 0
    assert ("hoist_clients",) not in found
    assert found["process_resident_memory_bytes",] > 1e6


def test_nobody_reads_them_without_a_token_that_may(served, database, project):
    assert served.client(None).get("/metrics").status_code == 401
    with database.write() as session:
        session.get_one(Client, "c1").report_token_sha256 = sha256_hex("the-token-of-c1")
    assert served.client("the-token-of-c1").get("/metrics").status_code == 403
    answer = served.viewer.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert samples_of(answer.text)["hoist_api_requests_total", "GET", "401"] == 1


def test_one_look_is_few_statements_and_reads_no_history(database, project):
    """What only grows is not read: neither the history of reports nor the deliveries that were sent."""
    seen = []

    def note(_connection, _cursor, statement, *_):
        seen.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    list(FleetMetrics(database).collect())
    event.remove(database.engine, "before_cursor_execute", note)
    tables = {word for one in seen for word in one.replace("\n", " ").split()}
    assert "latest_process_reports" in tables
    assert not {"process_reports", "container_reports", "audit_entries"} & tables
    assert len(seen) <= 16
