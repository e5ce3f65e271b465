import threading
from datetime import timedelta

import pytest
from sqlalchemy import delete

from db.models import DeployTask, Lease
from db.session import Database
from tasks.errors import LeaseHeldError, LeaseLostError
from tasks.planning import create_deploy_task
from tasks.planning.lease import (
    acquire_leases,
    check_leases_free,
    check_leases_held,
    lease_renew_s,
    lease_ttl_s,
    release_leases,
    renew_leases,
)
from tests.builders import (
    NOW,
    create_environment,
    create_fleet,
    create_installation,
    create_target,
    upgrade_request,
)

SOON = NOW + timedelta(seconds=59)
LATE = NOW + timedelta(seconds=61)


@pytest.fixture
def tasks(database: Database) -> dict[str, DeployTask]:
    """Two deploy tasks for prod, one for staging, one for both."""
    with database.write() as session:
        project, _ = create_fleet(session, {"a": "1.4"})
        create_installation(
            session, create_target(session, create_environment(session, project, "staging"), "s"), "1.4"
        )
        wanted = {"one": "prod", "two": "prod", "staging": "staging", "both": "*"}
        return {
            name: create_deploy_task(
                session, upgrade_request(project, environment=environment), now=NOW, who="ann"
            )
            for name, environment in wanted.items()
        }


def test_one_deploy_task_at_a_time_and_the_refusal_names_the_holder(database: Database, tasks):
    with database.write() as session:
        assert acquire_leases(session, tasks["one"], "run-1", NOW) == 1
    for name in ("two", "both"):
        with pytest.raises(LeaseHeldError) as refusal, database.write() as session:
            acquire_leases(session, tasks[name], "run-2", SOON)
        held = refusal.value
        assert (held.holder, held.deploy_task_id) == ("run-1", tasks["one"].id)
        assert held.expires_at == NOW + timedelta(seconds=60)
        assert "run-1" in str(held)
        assert tasks["one"].id in str(held)
    with database.write() as session:
        assert acquire_leases(session, tasks["staging"], "run-3", SOON) == 2


def test_a_lease_that_ran_out_is_taken_with_a_higher_fence_and_the_old_holder_notices(
    database: Database, tasks
):
    with database.write() as session:
        first = acquire_leases(session, tasks["one"], "run-1", NOW)
    with database.write() as session:
        assert acquire_leases(session, tasks["one"], "run-2", LATE) > first
    with pytest.raises(LeaseLostError, match="run-2"), database.write() as session:
        renew_leases(session, tasks["one"], "run-1", LATE, fence=first)
    with database.write() as session:
        release_leases(session, tasks["one"], "run-1")
        with pytest.raises(LeaseHeldError):
            check_leases_free(session, tasks["one"], LATE)


def test_renewing_makes_it_last(database: Database, tasks):
    with database.write() as session:
        acquire_leases(session, tasks["one"], "run-1", NOW)
    with database.write() as session:
        renew_leases(session, tasks["one"], "run-1", SOON, fence=1)
    with pytest.raises(LeaseHeldError), database.write() as session:
        acquire_leases(session, tasks["two"], "run-2", LATE)


def test_the_same_run_gets_a_higher_fence_and_what_it_was_before_can_do_nothing(database: Database, tasks):
    """Prefect's Retry keeps the flow run's id, and the process before it may only have been frozen."""
    one = tasks["one"]
    with database.write() as session:
        first = acquire_leases(session, one, "run-1", NOW)
        assert acquire_leases(session, one, "run-1", SOON) == first + 1
    with database.write() as session:
        check_leases_held(session, one.id, "run-1", fence=first + 1, environments=1)
        with pytest.raises(LeaseLostError):
            check_leases_held(session, one.id, "run-1", fence=first, environments=1)
        with pytest.raises(LeaseLostError):
            renew_leases(session, one, "run-1", SOON, fence=first)
        release_leases(session, one, "run-1")
        check_leases_free(session, tasks["two"], NOW)
        assert acquire_leases(session, tasks["two"], "run-2", NOW) == first + 2


def test_one_of_two_environments_that_is_lost_is_all_lost(database: Database, tasks):
    with database.write() as session:
        fence = acquire_leases(session, tasks["both"], "run-1", NOW)
        check_leases_held(session, tasks["both"].id, "run-1", fence=fence, environments=2)
    with database.write() as session:
        acquire_leases(session, tasks["staging"], "run-2", LATE)
    with pytest.raises(LeaseLostError), database.write() as session:
        check_leases_held(session, tasks["both"].id, "run-1", fence=fence, environments=2)


def test_of_many_at_once_one_gets_it(database: Database, tasks):
    gate = threading.Barrier(6)
    fences: list[int] = []
    refused: list[str] = []

    def run(number: int) -> None:
        gate.wait(60)
        try:
            with database.write() as session:
                fences.append(acquire_leases(session, tasks["both"], f"run-{number}", NOW))
        except LeaseHeldError as held:
            refused.append(held.holder)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert fences == [1]
    assert len(refused) == 5
    assert len(set(refused)) == 1


def test_times_come_from_the_environment():
    assert (lease_ttl_s({}), lease_renew_s({})) == (60, 15)
    assert (lease_ttl_s({"HOIST_LEASE_TTL_S": "3"}), lease_renew_s({"HOIST_LEASE_RENEW_S": "0.5"})) == (
        3,
        0.5,
    )


def test_fence_rises_over_an_environment_that_is_made_anew(database: Database, tasks):
    """Its agents keep the highest that they have seen of the project."""
    with database.write() as session:
        for number in (1, 2, 3):
            assert acquire_leases(session, tasks["one"], f"run-{number}", NOW) == number
            release_leases(session, tasks["one"], f"run-{number}")
    with database.write() as session:
        session.execute(delete(Lease))
    with database.write() as session:
        assert acquire_leases(session, tasks["one"], "run-4", NOW) == 4
