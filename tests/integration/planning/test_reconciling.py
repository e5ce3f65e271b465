"""A deploy task whose run is gone is paused, on both databases; one whose run is alive is left alone."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from db.documents.hold import HoldState
from db.models import AuditEntry, DeployResult, DeployTask, Freeze, Installation, Lease, News, Version
from db.queries.deploy_tasks import get_deploy_task
from tasks.errors import LeaseHeldError, LeaseLostError
from tasks.planning import create_deploy_task
from tasks.planning.controls import begin_run
from tasks.planning.lease import acquire_leases, renew_leases
from tasks.planning.reconciling import (
    BEGINS_WITHIN,
    GRACE,
    due_deploy_tasks,
    give_up,
    mark_begun,
    pause_abandoned,
    put_off,
    refuse_due,
)
from tasks.planning.steering import hold_at, roll_back
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


@pytest.fixture
def scheduled(database):
    """Its time came, and a flow run was made for it; another one, of which nothing was asked yet, is there."""
    with database.write() as session:
        project, _ = create_fleet(session, {"b": "1.4", "c": "1.4"}, project_name="api")
        create_deploy_task(session, upgrade_request(project), now=NOW, who="ann")
        asked = upgrade_request(project, schedule_type="scheduled", schedule_from=NOW)
        made = create_deploy_task(session, asked, now=NOW, who="ann")
        mark_begun(session, made.id, NOW)
        return made


def due(database, now):
    with database.read() as session:
        return due_deploy_tasks(session, now)


def told(session):
    return session.scalars(select(News.event).order_by(News.id)).all()


def test_scheduled_deploy_task_whose_flow_run_does_not_begin_is_due_every_two_minutes(database, scheduled):
    soon = NOW + BEGINS_WITHIN - timedelta(seconds=1)
    assert due(database, soon) == []
    for moment in (NOW + BEGINS_WITHIN, NOW + 2 * BEGINS_WITHIN):
        assert due(database, moment) == [scheduled.id]
        with database.write() as session:
            mark_begun(session, scheduled.id, moment)
        assert due(database, moment + BEGINS_WITHIN - timedelta(seconds=1)) == []
    with database.write() as session:
        begin_run(session, scheduled, "run-1", moment, TTL_S)
    assert due(database, moment + timedelta(hours=1)) == [], "it is under way"
    assert paused(database, moment + timedelta(hours=1)) == [scheduled.id]


def test_deploy_task_that_waits_for_its_window_and_whose_next_run_does_not_begin_is_due_again(database, task):
    with database.write() as session:
        found = get_deploy_task(session, task.id)
        hold_at(found, HoldState(kind="window", wave=1, reason="it is closed", since=NOW, until=GONE))
    assert due(database, GONE) == [task.id]
    with database.write() as session:
        mark_begun(session, task.id, GONE)
    assert due(database, GONE) == []
    assert due(database, GONE + BEGINS_WITHIN) == [task.id]
    with database.write() as session:
        put_off(session, task.id, "another one was quicker")
        assert get_deploy_task(session, task.id).status == "scheduled"
    assert due(database, GONE) == [task.id]


def test_deploy_task_whose_freeze_is_over_and_whose_next_run_does_not_begin_is_due_again(database, task):
    with database.write() as session:
        found = get_deploy_task(session, task.id)
        hold_at(found, HoldState(kind="freeze", wave=1, reason="frozen by ops", since=NOW))
        mark_begun(session, task.id, GONE)
    later = GONE + BEGINS_WITHIN
    assert due(database, later - timedelta(seconds=1)) == []
    assert due(database, later) == [task.id]
    with database.write() as session:
        session.add(Freeze(project_id=task.project_id, reason="audit", who="ops", created_at=later))
    assert due(database, later) == [], "it is frozen anew"
    with database.write() as session:
        session.delete(session.scalars(select(Freeze)).one())
        mark_begun(session, task.id, later)
    assert due(database, later) == []
    assert due(database, later + BEGINS_WITHIN) == [task.id]


def test_one_that_can_not_be_looked_for_says_so_once_and_is_due_until_it_can(database, scheduled):
    later = NOW + BEGINS_WITHIN
    with database.write() as session:
        assert refuse_due(session, scheduled.id, "Prefect is away", later)
        assert not refuse_due(session, scheduled.id, "Prefect is away", later)
        found = get_deploy_task(session, scheduled.id)
        assert (found.status, found.status_reason) == ("scheduled", "Prefect is away")
        assert told(session) == ["needs_person"]
    assert due(database, later) == [scheduled.id]
    with database.write() as session:
        mark_begun(session, scheduled.id, later)
    assert due(database, later) == []


def test_one_whose_flow_runs_end_before_they_begin_waits_for_a_person(database, scheduled, task):
    with database.write() as session:
        found = get_deploy_task(session, task.id)
        hold_at(found, HoldState(kind="freeze", wave=1, reason="frozen by ops", since=NOW))
        for one in (scheduled, found):
            give_up(session, one.id, "they end", GONE)
        assert told(session)[-2:] == ["needs_person"] * 2
        statuses = [get_deploy_task(session, one.id).status for one in (scheduled, found)]
        assert statuses == ["pending", "paused"]
    assert due(database, GONE + timedelta(days=1)) == []
    with database.write() as session:
        assert begin_run(session, scheduled, "run-9", GONE, TTL_S)


def test_one_that_has_begun_meanwhile_is_left_alone(database, scheduled):
    with database.write() as session:
        begin_run(session, scheduled, "run-1", NOW, TTL_S)
        before = told(session)
        assert not refuse_due(session, scheduled.id, "its own run has the lease", NOW)
        give_up(session, scheduled.id, "they end", NOW)
        found = get_deploy_task(session, scheduled.id)
        assert (found.status, found.status_reason, told(session)) == ("running", None, before)


@pytest.mark.parametrize("run_made", [False, True])
def test_undo_of_one_that_waits_for_its_window_takes_back_though_the_fleet_is_another_one(
    database, task, run_made
):
    """Its run is gone; `run_made`: its window opened, and the next one has not begun."""
    with database.write() as session:
        found = get_deploy_task(session, task.id)
        result = session.scalars(select(DeployResult)).one()
        result.status, result.ran = "success", True
        there = session.scalars(select(Installation)).one()
        there.version, there.previous_version, there.deploy_task_id = "1.5", "1.4", task.id
        hold_at(found, HoldState(kind="window", wave=2, reason="it is closed", since=NOW, until=GONE))
        session.scalars(select(Version).where(Version.version == "1.5")).one().status = "deprecated"
        if run_made:
            mark_begun(session, task.id, GONE)
    later = GONE + BEGINS_WITHIN
    assert due(database, later) == [task.id]
    with database.write() as session:
        roll_back(session, get_deploy_task(session, task.id), "ann", later)
        refuse_due(session, task.id, "Prefect is away", later)
    assert due(database, later) == [], "a person has it begun"
    with database.write() as session:
        begin_run(session, task, "run-2", later, TTL_S)
        assert get_deploy_task(session, task.id).status == "rolling_back"
