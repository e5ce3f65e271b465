"""What Prefect says of a flow run that ended by force: its deploy task says so, and so are people told."""

import pytest
from sqlalchemy import select

from db.models import DeployTask, News
from tasks.planning import create_deploy_task
from tasks.run_hooks import pause_or_cancel
from tests.builders import NOW, create_fleet, upgrade_request


def deploy_task(database, status, started=True):
    with database.write() as session:
        project, _ = create_fleet(session, {"web-01": "1.4"})
        task = create_deploy_task(session, upgrade_request(project), now=NOW, who="ann")
        task.status, task.flow_run_id, task.started_at = status, "run-1", NOW if started else None
        return task.id


def told(database):
    with database.read() as session:
        return [(one.event, one.level, one.title) for one in session.scalars(select(News))]


def status_of(database, task_id):
    with database.read() as session:
        return session.get_one(DeployTask, task_id).status


@pytest.mark.parametrize("status", ["running", "canary", "rolling_back"])
def test_crashed_run_needs_a_person(database, status):
    task_id = deploy_task(database, status)
    pause_or_cancel(database, "run-1", "paused", "its flow run crashed")
    assert status_of(database, task_id) == "paused"
    assert told(database) == [("needs_person", "warning", "shop update 1.5 prod: its flow run crashed")]


def test_cancelled_run_is_told_to_who_heard_of_its_start(database):
    task_id = deploy_task(database, "running")
    pause_or_cancel(database, "run-1", "cancelled", "its flow run was cancelled")
    assert status_of(database, task_id) == "cancelled"
    assert told(database) == [("done", "info", "shop update 1.5 prod: cancelled")]


def test_cancelled_run_of_what_nobody_has_heard_of_is_no_news(database):
    deploy_task(database, "scheduled", started=False)
    pause_or_cancel(database, "run-1", "cancelled", "its flow run was cancelled")
    assert told(database) == []


def test_another_run_s_deploy_task_is_left_alone(database):
    task_id = deploy_task(database, "running")
    pause_or_cancel(database, "run-2", "paused", "its flow run crashed")
    assert status_of(database, task_id) == "running"
    assert told(database) == []
