"""What is deleted takes its reports along, and nobody else's, on both databases; also while reports come in."""

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from db.ids import new_id
from db.models import (
    Alert,
    AlertMemory,
    Client,
    ContainerReportRow,
    LatestContainerReport,
    LatestProcessReport,
    News,
    ProcessReportRow,
    ProcessSet,
    Target,
)
from tests.builders import (
    create_container_project,
    create_environment,
    create_project,
    create_target,
    make_alert,
)
from tests.served_api import ServedApi

PATIENCE_S = 60
PER_PROCESS = (ProcessReportRow, LatestProcessReport, ProcessSet)
PER_CONTAINER = (ContainerReportRow, LatestContainerReport)


@pytest.fixture
def projects(database):
    """Two projects, each on the clients c1 and c2; what was never planned has no version, and can be deleted."""
    with database.write() as session:
        made = []
        for name in ("shop", "api"):
            project = create_project(session, name)
            environment = create_environment(session, project)
            for client_id in ("c1", "c2"):
                create_target(session, environment, client_id)
            made.append(project)
        return made


def post_processes(api, client, project, **fields):
    process = {
        "pid": 7,
        "name": "shop",
        "start_time": "2026-01-01T00:00:00Z",
        "status": "idle",
        "matched_by": "m",
    }
    said = {"client_id": client, "project_id": project.id, "version": "1.4", "processes": [process]}
    said |= {"reported_at": datetime.now(UTC).isoformat(), "report_id": new_id(), **fields}
    return api.post("/release/process-report", json=said)


def post_containers(api, client, *containers):
    said = {
        "client_id": client,
        "containers": list(containers),
        "reported_at": datetime.now(UTC).isoformat(),
    }
    return api.post("/release/container-report", json=said)


def report_all(served, projects):
    """Three days of reports of each client and project, and each client's containers."""
    for client in ("c1", "c2"):
        assert post_containers(served.operator, client).status_code == 202
        for project in projects:
            for days in (2, 1, 0):
                at = (datetime.now(UTC) - timedelta(days=days)).isoformat()
                answer = post_processes(served.operator, client, project, reported_at=at)
                assert answer.status_code == 202, answer.text


def rows(database, table, **where):
    with database.read() as session:
        query = select(func.count()).select_from(table).filter_by(**where)
        return session.scalar(query)


def delete_project(served: ServedApi, project):
    """As an operator does: what refers to it goes first."""
    api = served.operator
    with served.database.read() as session:
        targets = session.scalars(select(Target).where(Target.project_id == project.id)).all()
    for target in targets:
        where = f"/release/environments/{target.environment_id}/targets/{target.id}"
        assert api.delete(where).status_code == 204
    base = f"/release/projects/{project.id}/environments"
    for environment in api.get(base).json():
        assert api.delete(f"{base}/{environment['id']}").status_code == 204
    answer = api.delete(f"/release/projects/{project.id}")
    assert answer.status_code == 204, answer.text


def test_project_takes_its_reports_along_and_leaves_the_others(served, database, projects):
    report_all(served, projects)
    shop, api = projects
    assert rows(database, ProcessReportRow) == 12
    assert rows(database, AlertMemory, project_id=shop.id) == 2
    delete_project(served, shop)
    assert rows(database, ProcessReportRow) == rows(database, ProcessReportRow, client_id="c1") * 2 == 6
    assert rows(database, LatestProcessReport) == rows(database, LatestProcessReport, project_id=api.id) == 2
    assert rows(database, ProcessSet) == rows(database, ProcessSet, project_id=api.id) == 2
    assert rows(database, AlertMemory, project_id=shop.id) == 0
    assert [rows(database, table) for table in PER_CONTAINER] == [2, 2], "they are the clients'"
    assert post_processes(served.operator, "c1", shop).status_code == 404
    assert post_processes(served.operator, "c1", api).status_code == 202


def test_alerts_of_a_deleted_project_end_and_are_told_while_its_client_reports_on(served, database, projects):
    with database.write() as session:
        boxes, other = create_container_project(session, "boxes"), projects[1]
        session.add(make_alert("process_exit", "critical", project_id=boxes.id, fired=False))
        session.add(make_alert("process_exit", "critical", project_id=other.id))
    sick = {"container_id": "1" * 64, "container_name": "boxes-1", "image": "boxes:1", "status": "Up 2 hours"}
    sick |= {"state": "running", "health": "unhealthy", "created_at": "2026-01-01T00:00:00Z"}
    api = served.operator
    assert post_containers(api, "c1", sick).status_code == 202
    fired = api.get("/release/alerts", params={"status": "firing", "project_id": "boxes"}).json()
    assert [one["type"] for one in fired] == ["container_unhealthy"]

    delete_project(served, boxes)

    assert post_containers(api, "c1", sick).status_code == 202
    left = api.get("/release/alerts", params={"status": "firing"}).json()
    assert [one["project_id"] for one in left] == [other.id]
    assert rows(database, Alert, project_id=boxes.id) == 1, "nobody was told of the one that waited"
    with database.read() as session:
        told = session.query(News).filter_by(project_id=boxes.id).order_by(News.id)
        assert [(one.alert_id, one.event) for one in told] == [
            (fired[0]["id"], "firing"),
            (fired[0]["id"], "resolved"),
        ]


def test_client_takes_all_its_reports_along_and_leaves_the_others(served, database, projects):
    report_all(served, projects)
    assert served.operator.delete("/release/clients/c1").status_code == 204
    for table in (*PER_PROCESS, *PER_CONTAINER, AlertMemory):
        assert rows(database, table, client_id="c1") == 0, table
    counts = {table: rows(database, table, client_id="c2") for table in (*PER_PROCESS, *PER_CONTAINER)}
    assert counts == {
        ProcessReportRow: 6,
        LatestProcessReport: 2,
        ProcessSet: 2,
        ContainerReportRow: 1,
        LatestContainerReport: 1,
    }


def test_project_of_the_same_name_begins_with_nothing(served, database, projects):
    """What this process remembers of the old one (its sets) is not used for the new one."""
    report_all(served, projects)
    delete_project(served, projects[0])
    with database.write() as session:
        anew = create_project(session, "shop")
        create_target(session, create_environment(session, anew), session.get_one(Client, "c1"))
    assert served.operator.get("/release/projects/shop/processes").json()["clients"] == []
    answer = post_processes(served.operator, "c1", anew)
    assert answer.json() | {"report_id": ""} == {"report_id": "", "duplicate": False, "newest": True}
    assert rows(database, ProcessSet, project_id=anew.id) == 1


def test_client_that_is_deleted_while_reports_come_in_costs_no_other_a_report(served, database, projects):
    ending, gone = threading.Event(), threading.Event()
    answers = {"c1": Counter(), "c2": Counter()}
    after = Counter()

    def report(client):
        api = served.operator
        while not ending.is_set():
            was_gone = gone.is_set()
            status = post_processes(api, client, projects[0]).status_code
            answers[client][status] += 1
            if was_gone and client == "c1":
                after[status] += 1

    threads = [threading.Thread(target=report, args=(client,)) for client in ("c1", "c2") * 4]
    for thread in threads:
        thread.start()
    try:
        while min(answers["c1"][202], answers["c2"][202]) < 20:
            ending.wait(0.01)
        assert served.operator.delete("/release/clients/c1").status_code == 204
        gone.set()
        while after.total() < 10:
            ending.wait(0.01)
    finally:
        ending.set()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert set(answers["c2"]) == {202}
    assert set(answers["c1"]) <= {202, 404}
    assert set(after) == {404}
    assert rows(database, ProcessReportRow, client_id="c2") == answers["c2"][202]
    assert rows(database, ProcessReportRow, client_id="c1") == 0
    assert rows(database, LatestProcessReport, client_id="c1") == 0
