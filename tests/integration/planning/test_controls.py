"""Start, cancel and retry, as they change rows; what a changed fleet does to a start."""

from datetime import timedelta

import pytest
from sqlalchemy import delete, select

from db.models import AuditEntry, Client, DeployResult, DeployTask, Installation, Lease, News, Version
from db.queries.clients import delete_client
from db.queries.deploy_tasks import counts_of, get_deploy_task
from db.session import Database
from tasks.errors import FleetChangedError, LeaseHeldError, LeaseLostError, PlanningError, WrongStateError
from tasks.planning import create_deploy_task, fleet_changes
from tasks.planning.controls import (
    begin_run,
    begin_start,
    finish_run,
    prepare_retry,
    request_cancel,
    wants_run,
)
from tasks.planning.lease import release_leases
from tasks.planning.reconciling import give_up, pause_abandoned
from tests.builders import NOW, create_fleet, create_installation, create_target, upgrade_request

LATE = NOW + timedelta(seconds=61)


@pytest.fixture
def task(database: Database) -> DeployTask:
    """An upgrade of a, b, c, d, all in one wave."""
    with database.write() as session:
        project, _ = create_fleet(session, dict.fromkeys("abcd", "1.4"))
        return create_deploy_task(session, upgrade_request(project), now=NOW, who="ann")


def _set(database: Database, task: DeployTask, **statuses: str) -> None:
    with database.write() as session:
        for row in session.scalars(select(DeployResult).where(DeployResult.deploy_task_id == task.id)):
            if row.client_id in statuses:
                row.status, row.attempt, row.execution_id = statuses[row.client_id], 1, f"x.{row.client_id}.1"


def _statuses(database: Database, task: DeployTask) -> dict[str, str]:
    with database.read() as session:
        rows = session.scalars(select(DeployResult).where(DeployResult.deploy_task_id == task.id))
        return {row.client_id: row.status for row in rows}


def _now(database: Database, task: DeployTask) -> DeployTask:
    with database.read() as session:
        return get_deploy_task(session, task.id)


def _begin(database: Database, task: DeployTask, holder: str = "run-1", now=NOW) -> int:
    with database.write() as session:
        return begin_run(session, task, holder, now)


def _finish(database: Database, task: DeployTask) -> str:
    with database.write() as session:
        return finish_run(session, task, "run-1", NOW, fence=max(session.scalars(select(Lease.fence))))


def test_two_starts_ask_for_the_same_run_and_one_after_it_for_another(database: Database, task):
    with database.write() as session:
        keys = {begin_start(session, task, False, NOW, who="ann") for _ in range(2)}
    with database.write() as session:
        get_deploy_task(session, task.id).flow_run_id = "f1"
    with database.write() as session:
        keys.add(begin_start(session, task, False, NOW, who="ann"))
    assert keys == {f"{task.id}:first", f"{task.id}:f1"}


def test_a_run_that_holds_the_lease_is_named_and_one_that_died_is_taken_over(database: Database, task):
    first = _begin(database, task)
    assert (_now(database, task).status, _now(database, task).started_at) == ("running", NOW)
    with pytest.raises(LeaseHeldError, match="run-1"), database.write() as session:
        begin_start(session, task, False, NOW)
    with database.write() as session:
        begin_start(session, task, False, LATE)
    assert _begin(database, task, "run-2", LATE) > first
    assert _now(database, task).started_at == NOW
    with pytest.raises(LeaseLostError):
        _finish(database, task)


def _change(session, what: str) -> None:
    def installation(client_id: str) -> Installation:
        return session.scalars(select(Installation).where(Installation.client_id == client_id)).one()

    if what == "gone":
        delete_client(session, "a")
    elif what == "held":
        session.get_one(Client, "b").held_reason = "disk"
    elif what == "version":
        installation("c").version = "1.3"
    elif what == "uninstalled":
        installation("c").status = "uninstalled"
    elif what == "failed":
        installation("d").status = "failed"
    elif what == "script":
        session.scalars(select(Version).where(Version.version == "1.5")).one().update_script = "other"
    elif what == "deprecated":
        session.scalars(select(Version).where(Version.version == "1.5")).one().status = "deprecated"


CHANGES = {
    "gone": ["a is gone"],
    "held": ["b is held: disk"],
    "version": ["c has 1.3, not 1.4"],
    "uninstalled": ["c has nothing, not 1.4"],
    "failed": ["d's installation is failed now"],
    "script": [f"{client}'s update_script is another one now" for client in "abcd"],
    "deprecated": ["version 1.5 is deprecated now"],
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_fleet_is_refused_with_what_changed(database: Database, task, what: str):
    with database.write() as session:
        _change(session, what)
    with database.read() as session:
        assert fleet_changes(session, get_deploy_task(session, task.id)) == CHANGES[what]
    with pytest.raises(FleetChangedError) as refusal, database.write() as session:
        begin_start(session, task, False, NOW)
    assert refusal.value.changes == CHANGES[what]
    with pytest.raises(FleetChangedError):
        _begin(database, task)
    assert _now(database, task).status == "pending"


def test_an_unchanged_fleet_starts_and_new_clients_are_no_change(database: Database, task):
    with database.write() as session:
        environment = session.scalars(select(Installation)).first().environment_id
        from db.models import Environment

        create_installation(
            session, create_target(session, session.get_one(Environment, environment), "e"), "1.4"
        )
    with database.read() as session:
        assert fleet_changes(session, task) == []


def test_planning_anew_takes_the_fleet_as_it_is_under_the_same_id(database: Database, task):
    with database.write() as session:
        _change(session, "gone")
        _change(session, "held")
    with database.write() as session:
        begin_start(session, task, True, NOW, who="ann")
    planned = _now(database, task)
    assert [client.client_id for client in planned.plan.clients] == ["c", "d"]
    assert planned.plan.digest != task.plan.digest
    assert {one.client_id: one.reason for one in planned.skipped} == {"b": "held"}
    assert _statuses(database, task) == {"c": "pending", "d": "pending"}
    with database.read() as session:
        assert "deploy_task.replan" in session.scalars(select(AuditEntry.action)).all()
    _begin(database, task)


def test_scheduled_deploy_task_is_planned_anew_too(database: Database, task):
    with database.write() as session:
        get_deploy_task(session, task.id).status = "scheduled"
        _change(session, "held")
    with database.write() as session:
        begin_start(session, task, True, NOW, who="ann")
    assert {one.client_id for one in _now(database, task).skipped} == {"b"}


def test_planning_anew_with_nobody_left_leaves_it_as_it_was(database: Database, task):
    with database.write() as session:
        session.execute(delete(Installation))
    with pytest.raises(PlanningError, match="no client of shop"), database.write() as session:
        begin_start(session, task, True, NOW)
    assert len(_now(database, task).plan.clients) == 4


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        ({"a": "success", "b": "success", "c": "success", "d": "success"}, "completed"),
        ({"a": "success", "b": "failed", "c": "success", "d": "success"}, "failed"),
        ({"a": "success", "b": "unreachable"}, "failed"),
        ({"a": "success", "b": "unknown"}, "failed"),
    ],
)
def test_a_run_ends_as_its_results_say_and_counts_add_up(database: Database, task, statuses, status: str):
    _begin(database, task)
    _set(database, task, **statuses)
    assert _finish(database, task) == status
    with database.read() as session:
        counts = counts_of(session, task.id)
        parts = (
            counts.success,
            counts.failed,
            counts.pending,
            counts.running,
            counts.skipped,
            counts.unknown,
        )
        assert sum(parts) == counts.total == 4
        assert counts.skipped == 4 - len(statuses)
    assert _now(database, task).finished_at == NOW
    with pytest.raises(WrongStateError, match=status):
        _begin(database, task)


def test_cancelling_before_the_start_skips_everybody(database: Database, task):
    with database.write() as session:
        request_cancel(session, task, "finish", "ann", NOW)
    assert _now(database, task).status == "cancelled"
    assert set(_statuses(database, task).values()) == {"skipped"}
    with pytest.raises(WrongStateError), database.write() as session:
        request_cancel(session, task, "finish", "ann", NOW)
    with pytest.raises(WrongStateError), database.write() as session:
        begin_start(session, task, False, NOW)


def test_cancelling_a_run_tells_it_and_it_ends_cancelled(database: Database, task):
    _begin(database, task)
    _set(database, task, a="success", b="running")
    with database.write() as session:
        request_cancel(session, task, "kill", "ann", NOW)
    assert (_now(database, task).status, _now(database, task).cancel_running) == ("running", "kill")
    assert _statuses(database, task)["c"] == "pending"
    _set(database, task, b="failed")
    assert _finish(database, task) == "cancelled"
    assert _statuses(database, task) == {"a": "success", "b": "failed", "c": "skipped", "d": "skipped"}


def test_cancelling_a_run_that_died_wants_a_run_that_asks_the_agents(database: Database, task):
    _begin(database, task)
    _set(database, task, a="success", b="running")
    with database.write() as session:
        assert wants_run(session, request_cancel(session, task, "kill", "ann", NOW), NOW) is None
    with database.write() as session:
        asked = request_cancel(session, task, "kill", "ann", LATE)
        assert wants_run(session, asked, LATE) == f"{task.id}:first"
    assert (_now(database, task).status, _now(database, task).cancel_running) == ("running", "kill")
    assert _statuses(database, task) == {"a": "success", "b": "running", "c": "pending", "d": "pending"}


def test_cancelling_a_run_that_died_with_nobody_in_flight_ends_it(database: Database, task):
    _begin(database, task)
    _set(database, task, a="success")
    with database.write() as session:
        assert wants_run(session, request_cancel(session, task, "finish", "ann", LATE), LATE) is None
    assert _now(database, task).status == "cancelled"
    assert _statuses(database, task) == {"a": "success", "b": "skipped", "c": "skipped", "d": "skipped"}


@pytest.fixture
def ended(database: Database, task) -> DeployTask:
    """a succeeded, b failed, c is unknown, d was skipped."""
    _begin(database, task)
    _set(database, task, a="success", b="failed", c="unknown")
    _finish(database, task)
    with database.write() as session:
        for row in session.scalars(select(Installation).where(Installation.client_id.in_(("a", "b")))):
            row.version, row.status = ("1.5", "installed") if row.client_id == "a" else ("1.4", "failed")
    return task


@pytest.mark.parametrize(
    ("client_ids", "statuses", "pending"),
    [
        (None, None, {"b", "d"}),
        (None, ["failed"], {"b"}),
        (None, ["unknown", "failed"], {"b", "c"}),
        (["c"], None, {"c"}),
        (["b", "d"], ["failed"], {"b"}),
    ],
)
def test_a_retry_takes_those_it_is_for_under_the_same_plan(
    database: Database, ended, client_ids, statuses, pending
):
    with database.write() as session:
        prepare_retry(session, ended, client_ids, statuses, "ann", NOW)
    again = _now(database, ended)
    assert (again.status, again.plan, again.finished_at) == ("pending", ended.plan, None)
    assert {client for client, status in _statuses(database, ended).items() if status == "pending"} == pending
    with database.read() as session:
        rows = session.scalars(select(DeployResult).where(DeployResult.client_id.in_(pending)))
        assert all(row.execution_id is None for row in rows)
        assert fleet_changes(session, again) == []
    _begin(database, ended, "run-2")


def test_what_a_retry_refuses(database: Database, ended):
    for client_ids, statuses, said in (
        (["a"], None, "no client"),
        (["nobody"], None, "nobody"),
        (None, ["success"], "success"),
        (None, ["unreachable"], "no client"),
    ):
        with pytest.raises(PlanningError, match=said), database.write() as session:
            prepare_retry(session, ended, client_ids, statuses, "ann", NOW)
    with database.write() as session:
        prepare_retry(session, ended, None, None, "ann", NOW)
    with pytest.raises(WrongStateError, match="pending"), database.write() as session:
        prepare_retry(session, ended, None, None, "ann", NOW)
    with database.write() as session:
        session.get_one(Client, "d").held_reason = "disk"
    with pytest.raises(WrongStateError, match="already touched"), database.write() as session:
        begin_start(session, ended, True, NOW)


def test_a_retry_goes_on_with_whom_a_cancelled_flow_run_left_open(database: Database, task):
    _begin(database, task)
    _set(database, task, a="success", b="running")
    with database.write() as session:
        get_deploy_task(session, task.id).status = "cancelled"
        release_leases(session, task, "run-1")
    with database.write() as session:
        prepare_retry(session, task, None, None, "ann", NOW)
    assert _statuses(database, task) == {"a": "success", "b": "running", "c": "pending", "d": "pending"}
    assert _now(database, task).status == "pending"


def test_who_is_still_in_flight_when_a_run_ends_is_unknown(database: Database, task):
    _begin(database, task)
    _set(database, task, a="success", b="running", c="success", d="success")
    assert _finish(database, task) == "failed"
    assert _statuses(database, task)["b"] == "unknown"


def _told(database: Database) -> list[tuple[str, str, str]]:
    with database.read() as session:
        return [(row.event, row.level, row.title) for row in session.scalars(select(News).order_by(News.id))]


def test_people_are_told_of_the_start_and_the_end_once(database: Database, task):
    _begin(database, task)
    _begin(database, task)
    _set(database, task, a="success", b="failed", c="unreachable", d="success")
    assert _finish(database, task) == "failed"
    assert _told(database) == [
        ("started", "info", "shop update 1.5 prod: started"),
        ("failed", "critical", "shop update 1.5 prod: failed"),
    ]
    with database.read() as session:
        body = session.scalars(select(News.body).where(News.event == "failed")).one()
    assert body.startswith("2 upgraded, 1 failed, 1 unreachable of 4 clients")
    assert f"deploy task {task.id}" in body


def _cancel(database: Database, task: DeployTask, now=NOW) -> None:
    with database.write() as session:
        request_cancel(session, task, "finish", "ann", now)


@pytest.mark.parametrize(
    ("left", "level"),
    [("success", "info"), *((left, "critical") for left in ("failed", "unreachable", "unknown", "running"))],
)
def test_end_of_a_cancelled_one_has_the_level_of_a_failed_one_where_somebody_failed(
    database: Database, task, left: str, level: str
):
    _begin(database, task)
    _set(database, task, a="success", b=left)
    _cancel(database, task)
    assert _finish(database, task) == "cancelled"
    assert _told(database)[1:] == [("done", level, "shop update 1.5 prod: cancelled")]


@pytest.mark.parametrize(("left", "level"), [("success", "info"), ("failed", "critical")])
def test_people_who_heard_that_its_run_is_gone_are_told_that_it_was_cancelled(
    database: Database, task, left: str, level: str
):
    _begin(database, task)
    _set(database, task, a="success", b=left)
    with database.write() as session:
        assert pause_abandoned(session, LATE, timedelta()) == [task.id]
    _cancel(database, task, LATE)
    assert _told(database)[1:] == [
        ("needs_person", "warning", "shop update 1.5 prod: its run is gone"),
        ("done", level, "shop update 1.5 prod: cancelled"),
    ]
    with database.read() as session:
        body = session.scalars(select(News.body).where(News.event == "done")).one()
    assert body.splitlines()[0].endswith("2 skipped of 4 clients")
    assert "cancelled by ann" in body


def test_people_who_heard_that_it_could_not_begin_are_told_that_it_was_cancelled(database: Database, task):
    with database.write() as session:
        give_up(session, task.id, "its flow runs end", NOW)
    _cancel(database, task)
    assert [event for event, *_ in _told(database)] == ["needs_person", "done"]


def test_cancel_of_one_that_nobody_has_heard_of_is_no_news(database: Database, task):
    with database.write() as session:
        other = create_deploy_task(session, task.request, now=NOW, who="ann")
        give_up(session, other.id, "its flow runs end", NOW)
    _cancel(database, task)
    assert [event for event, *_ in _told(database)] == ["needs_person"], "of the other one"
