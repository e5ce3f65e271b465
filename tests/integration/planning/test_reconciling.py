"""A deploy task whose run is gone is paused, on both databases; one whose run is alive is left alone."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from db.documents.hold import HoldState
from db.models import AuditEntry, DeployTask, Freeze, Lease, News
from db.queries.deploy_tasks import get_deploy_task
from tasks.errors import LeaseHeldError, LeaseLostError
from tasks.planning import create_deploy_task
from tasks.planning.controls import begin_run
from tasks.planning.lease import acquire_leases, renew_leases
from tasks.planning.reconciling import GRACE, due_deploy_tasks, mark_begun, pause_abandoned, put_off
from tasks.planning.steering import hold_at
from tests.builders import NOW, create_fleet, upgrade_request

TTL_S = 60.0
GONE = NOW + timedelta(seconds=TTL_S) + GRACE


@pytest.fixture
def task(database):
    with database.write() as session:
        project, _ = create_fleet(session, {"a": "1.4"})
        made = create_deploy_task(session, upgrade_request(project), now=NOW, who="ann")
    with database.write() as session:
        begin_run(session, made, "run-1", NOW, TTL_S)
    return made


def paused(database, now):
    with database.write() as session:
        return pause_abandoned(session, now)


def test_a_run_that_renews_its_lease_is_left_alone(database, task):
    assert paused(database, GONE - timedelta(seconds=1)) == []
    with database.write() as session:
        renew_leases(session, task, "run-1", GONE, TTL_S, fence=1)
    assert paused(database, GONE + timedelta(seconds=1)) == []
    with database.read() as session:
        assert get_deploy_task(session, task.id).status == "running"


def test_a_run_that_is_gone_is_paused_once_and_its_lease_let_go(database, task):
    assert paused(database, GONE) == [task.id]
    assert paused(database, GONE) == []
    with database.read() as session:
        found = get_deploy_task(session, task.id)
        assert (found.status, found.finished_at) == ("paused", None)
        assert "start it again" in found.status_reason
        assert session.scalars(select(Lease.holder)).all() == [None]
        assert session.scalars(select(News.event)).all() == ["started", "needs_person"]
        assert session.scalars(select(AuditEntry.who).where(AuditEntry.action == "deploy_task.paused")).all()


def test_a_run_that_was_only_frozen_finds_its_lease_gone(database, task):
    paused(database, GONE)
    with pytest.raises(LeaseLostError), database.write() as session:
        renew_leases(session, task, "run-1", GONE, TTL_S, fence=1)
    with database.write() as session:
        assert begin_run(session, task, "run-2", GONE, TTL_S) == 2


def test_who_has_not_begun_or_has_ended_is_nobody_s_business(database, task):
    for status in ("pending", "completed", "failed", "cancelled", "paused"):
        with database.write() as session:
            get_deploy_task(session, task.id).status = status
        assert paused(database, GONE) == []


def test_scheduled_deploy_task_is_started_once(database):
    """Its flow run takes a while to begin: until then it is not due once more."""
    with database.write() as session:
        project, _ = create_fleet(session, {"a": "1.4"})
        asked = upgrade_request(project, schedule_type="scheduled", schedule_from=NOW)
        task_id = create_deploy_task(session, asked, now=NOW, who="ann").id
    with database.write() as session:
        assert due_deploy_tasks(session, NOW - timedelta(seconds=1)) == []
        assert due_deploy_tasks(session, NOW) == [task_id]
        mark_begun(session, task_id, NOW)
    with database.read() as session:
        assert due_deploy_tasks(session, NOW) == []
        assert session.get_one(DeployTask, task_id).status == "pending"


def test_run_that_died_while_a_freeze_held_it_is_followed_by_another_once_that_is_over(database, task):
    since = GONE - timedelta(seconds=30)
    with database.write() as session:
        found = get_deploy_task(session, task.id)
        hold_at(found, HoldState(kind="freeze", wave=1, reason="frozen by ops", since=since))
        freeze = Freeze(project_id=found.project_id, reason="audit", who="ops", created_at=since)
        session.add(freeze)
        session.flush()
        assert due_deploy_tasks(session, GONE) == []
        session.delete(freeze)
        session.flush()
        assert due_deploy_tasks(session, NOW + timedelta(seconds=TTL_S / 2)) == [], "its run is at work"
        assert due_deploy_tasks(session, GONE) == [task.id]
        mark_begun(session, task.id, GONE)
        assert due_deploy_tasks(session, GONE) == []
        put_off(session, task.id, "another one was quicker")
        assert due_deploy_tasks(session, GONE) == [task.id]
        assert begin_run(session, task, "run-2", GONE, TTL_S) == 2
        assert (found.status, found.hold) == ("running", None)


def test_scheduled_deploy_task_that_another_one_was_quicker_than_is_due_again(database):
    with database.write() as session:
        project, _ = create_fleet(session, {"a": "1.4", "b": "1.4"})
        asked = {"schedule_type": "scheduled", "schedule_from": NOW, "auto_select_clients": False}
        first, second = (
            create_deploy_task(
                session, upgrade_request(project, client_ids=[one], **asked), now=NOW, who="ann"
            )
            for one in ("a", "b")
        )
        for task in (first, second):
            mark_begun(session, task.id, NOW)
        begin_run(session, first, "run-1", NOW, TTL_S)
        with pytest.raises(LeaseHeldError) as held:
            begin_run(session, second, "run-2", NOW, TTL_S)
        put_off(session, second.id, str(held.value))
        assert (second.status, first.id in second.status_reason) == ("scheduled", True)
        assert due_deploy_tasks(session, NOW) == [second.id]


def test_run_that_is_at_work_by_then_keeps_its_status(database):
    with database.write() as session:
        project, _ = create_fleet(session, {"a": "1.4"})
        asked = upgrade_request(project, schedule_type="scheduled", schedule_from=NOW)
        task = create_deploy_task(session, asked, now=NOW, who="ann")
        acquire_leases(session, task, "run-1", NOW)
        mark_begun(session, task.id, NOW)
        assert task.status == "scheduled", "it waits for its window, say"
