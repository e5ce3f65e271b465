"""Flow runs that the release API has begun, against a real Prefect server: one a key, unless it can't begin any more."""

import threading
from datetime import timedelta

import pytest
from prefect.client.orchestration import get_client
from prefect.states import Cancelled, Crashed, Failed, Pending
from sqlalchemy import select, update

from api import flow_runs
from api.errors import RunsEndedError
from api.flow_runs import MAX_RUNS_LOOKED_FOR, MAX_RUNS_PER_KEY, FlowRuns
from api.housekeeping import _start_due
from api.settings import ApiSettings
from db.documents.hold import HoldState
from db.models import AuditEntry, DeployTask, News, Project, utc_now
from tasks.errors import LeaseHeldError
from tasks.planning import create_deploy_task
from tasks.planning.controls import begin_run, run_key
from tasks.planning.lease import acquire_leases, renew_leases
from tasks.planning.reconciling import BEGINS_WITHIN, put_off, refuse_due
from tasks.planning.steering import hold_at
from tests.builders import create_fleet, upgrade_request
from tests.served_api import make_parts

TASK = "01a21a37-dbb1-7125-9012-5c749ec877ed"


@pytest.fixture
def runs(prefect_api):
    """The release API's, with a deployment of that name."""
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow_from_name("upgrade")
        deployment_id = client.create_deployment(flow_id, name="fleet")
        yield FlowRuns(ApiSettings(prefect_url=prefect_api))
        client.delete_deployment(deployment_id)


def state_of(flow_run_id):
    with get_client(sync_client=True) as client:
        return client.read_flow_run(flow_run_id).state


def put(flow_run_id, state):
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run_id, state, force=True)


def take(flow_run_id):
    """As a worker does, before it begins it."""
    put(flow_run_id, Pending())


TAKEN = str(LeaseHeldError("other run", "other task", utc_now()))
"""What a flow run says that another deploy task was quicker than."""


def refuse(flow_run_id, why):
    """As a flow run ends that began and could not take its deploy task up."""
    put(flow_run_id, Failed(name="Refused", message=why))


def test_run_that_its_worker_took_and_never_began_is_followed_by_another(runs, monkeypatch):
    first = runs.start(TASK, "key").flow_run_id
    take(first)
    assert runs.start(TASK, "key").flow_run_id == first, "its worker is at it"
    monkeypatch.setattr(flow_runs, "PENDING_FOR", timedelta(0))
    second = runs.start(TASK, "key").flow_run_id
    assert second != first
    assert state_of(first).name == "Crashed"
    assert runs.start(TASK, "key").flow_run_id == second


class Waiting:
    """A deploy task that goes on by itself; its flow runs are nobody's, until a test is their worker."""

    def __init__(self, database, prefect_api, kind):
        self.parts = make_parts(database, prefect_url=prefect_api)
        self.database = database
        with database.write() as session:
            project, _ = create_fleet(session, {"a": "1.4"})
            asked = {"schedule_type": "scheduled", "schedule_from": utc_now()} if kind == "schedule" else {}
            task = create_deploy_task(session, upgrade_request(project, **asked), now=utc_now(), who="ann")
            if kind == "freeze":  # it held its run, which died, and is over
                begin_run(session, task, "dead", utc_now() - timedelta(minutes=5))
                task.flow_run_id = "dead"
                hold_at(task, HoldState(kind="freeze", wave=1, reason="frozen by ops", since=utc_now()))
        self.id = task.id

    def row(self):
        with self.database.read() as session:
            return session.get_one(DeployTask, self.id)

    def start_due(self, *, later=timedelta(0)):
        """As the release API does, when so much time has gone by."""
        with self.database.write() as session:
            whose = update(DeployTask).where(DeployTask.id == self.id)
            session.execute(whose.values(updated_at=self.row().updated_at - later))
        _start_due(self.parts, threading.Event())

    def run_ids(self):
        """Its flow runs, oldest first."""
        with get_client(sync_client=True) as client:
            found = client.read_flow_runs(limit=200)
        mine = [one for one in found if one.parameters.get("deploy_task_id") == self.id]
        return [str(one.id) for one in sorted(mine, key=lambda one: one.created)]

    def told(self):
        with self.database.read() as session:
            return session.scalars(select(News.event).where(News.event == "needs_person")).all()


@pytest.fixture(params=["schedule", "freeze"])
def waiting(request, runs, database, prefect_api):
    return Waiting(database, prefect_api, request.param)


def test_run_that_waits_for_a_worker_stays_the_only_one_however_long(waiting):
    waiting.start_due()
    [only] = waiting.run_ids()
    for _ in range(3):
        waiting.start_due(later=BEGINS_WITHIN)
    assert waiting.run_ids() == [only]
    take(only)
    waiting.start_due(later=BEGINS_WITHIN)
    assert waiting.run_ids() == [only], "its worker is at it"
    assert waiting.told() == []
    with waiting.database.read() as session:
        starts = select(AuditEntry.who).where(AuditEntry.action == "deploy_task.start")
        assert session.scalars(starts).all() == ["schedule"]


def test_run_that_is_lost_before_it_begins_is_followed_by_another_by_itself(waiting, monkeypatch):
    waiting.start_due()
    [lost] = waiting.run_ids()
    take(lost)
    monkeypatch.setattr(flow_runs, "PENDING_FOR", timedelta(0))
    waiting.start_due()
    assert waiting.run_ids() == [lost], "it has some time"
    waiting.start_due(later=BEGINS_WITHIN)
    first, second = waiting.run_ids()
    assert (first, state_of(first).name) == (lost, "Crashed")
    assert state_of(second).is_scheduled()
    with waiting.database.write() as session:
        begin_run(session, session.get_one(DeployTask, waiting.id), second, utc_now())
    waiting.start_due(later=BEGINS_WITHIN)
    assert len(waiting.run_ids()) == 2
    assert (waiting.row().status, waiting.told()) == ("running", [])


def test_after_some_runs_that_are_lost_a_person_is_told_and_may_start_another(waiting, monkeypatch):
    monkeypatch.setattr(flow_runs, "PENDING_FOR", timedelta(0))
    waiting.start_due()
    for number in range(1, MAX_RUNS_LOOKED_FOR + 1):
        assert len(waiting.run_ids()) == number
        assert waiting.told() == []
        take(waiting.run_ids()[-1])
        waiting.start_due(later=BEGINS_WITHIN)
    for _ in range(2):
        waiting.start_due(later=timedelta(days=1))
    assert waiting.told() == ["needs_person"]
    assert len(waiting.run_ids()) == MAX_RUNS_LOOKED_FOR
    assert "end before they begin" in waiting.row().status_reason
    waiting.parts.flow_runs.start(waiting.id, run_key(waiting.row()))
    assert len(waiting.run_ids()) == MAX_RUNS_LOOKED_FOR + 1


def test_one_whose_environment_is_taken_is_told_of_once_however_often_that_lease_is_renewed(waiting):
    with waiting.database.write() as session:
        project = session.query(Project).one()
        other = create_deploy_task(session, upgrade_request(project), now=utc_now(), who="ann")
        fence = acquire_leases(session, other, "other run", utc_now())
    for ttl_s in (60, 70, 80):
        with waiting.database.write() as session:
            renew_leases(session, other, "other run", utc_now(), ttl_s, fence=fence)
        waiting.start_due(later=BEGINS_WITHIN)
    assert waiting.run_ids() == []
    assert waiting.told() == ["needs_person"]
    assert other.id in waiting.row().status_reason


def test_run_that_somebody_cancelled_in_prefect_is_not_followed_by_another(waiting):
    waiting.start_due()
    put(waiting.run_ids()[0], Cancelled())
    waiting.start_due(later=BEGINS_WITHIN)
    waiting.start_due(later=BEGINS_WITHIN)
    assert len(waiting.run_ids()) == 1
    assert waiting.told() == ["needs_person"]
    assert "cancelled in Prefect" in waiting.row().status_reason


def test_run_that_somebody_cancelled_in_prefect_is_not_followed_after_it_could_not_be_looked_for(waiting):
    waiting.start_due()
    put(waiting.run_ids()[0], Cancelled())
    with waiting.database.write() as session:
        assert refuse_due(session, waiting.id, "Prefect is away", utc_now() + BEGINS_WITHIN)
    for _ in range(3):
        waiting.start_due()
    assert len(waiting.run_ids()) == 1
    assert "cancelled in Prefect" in waiting.row().status_reason


def test_run_that_was_cancelled_and_that_a_person_had_followed_is_passed(runs):
    first = runs.start(TASK, "another key").flow_run_id
    put(first, Cancelled())
    second = runs.start(TASK, "another key").flow_run_id
    assert runs.start(TASK, "another key", by_itself=True).flow_run_id == second
    put(second, Crashed())
    third = runs.start(TASK, "another key", by_itself=True).flow_run_id
    assert third not in {first, second}, "it is lost, and followed"
    put(third, Cancelled())
    for _ in range(2):
        with pytest.raises(RunsEndedError, match="cancelled in Prefect"):
            runs.start(TASK, "another key", by_itself=True)


def test_one_that_others_were_quicker_than_goes_on_however_often(waiting):
    for number in range(1, MAX_RUNS_LOOKED_FOR + 2):
        waiting.start_due()
        assert len(waiting.run_ids()) == number
        refuse(waiting.run_ids()[-1], TAKEN)
        with waiting.database.write() as session:
            put_off(session, waiting.id, TAKEN)
    waiting.start_due()
    living = waiting.run_ids()
    for _ in range(2):
        waiting.start_due(later=BEGINS_WITHIN)
    assert waiting.run_ids() == living, "it waits for a worker"
    put(living[-1], Crashed())
    waiting.start_due(later=BEGINS_WITHIN)
    assert len(waiting.run_ids()) == len(living) + 1, "one was lost"
    assert waiting.told() == []


def test_runs_that_were_put_off_keep_no_person_from_starting_another(runs):
    for _ in range(MAX_RUNS_PER_KEY + 1):
        refuse(runs.start(TASK, "a long key").flow_run_id, TAKEN)
    assert state_of(runs.start(TASK, "a long key").flow_run_id).is_scheduled()


def test_runs_that_were_refused_for_anything_else_are_lost(runs):
    for _ in range(MAX_RUNS_LOOKED_FOR):
        refuse(runs.start(TASK, "a wrong key", by_itself=True).flow_run_id, "cannot use HOIST_WATCH_S")
    with pytest.raises(RunsEndedError, match="end before they begin"):
        runs.start(TASK, "a wrong key", by_itself=True)
