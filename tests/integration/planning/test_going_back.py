"""Who of a deploy task's clients can be taken back, by what its results and the installations say."""

from collections.abc import Sequence

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.documents.deploy_request import DeployTaskRequest
from db.documents.rollback import RollbackState
from db.models import DeployResult, DeployTask, Version
from db.queries.deploy_tasks import get_deploy_task
from db.queries.installations import record_failure, record_success, record_uninstalled
from db.session import Database
from tasks.errors import PlanningError
from tasks.planning import create_deploy_task
from tasks.planning.controls import prepare_retry
from tasks.planning.going_back import try_again, ways_back
from tasks.planning.steering import roll_back
from tasks.recipes import Recipes
from tests.builders import NOW, create_fleet, upgrade_request


@pytest.fixture
def task(database: Database) -> DeployTask:
    """An upgrade of a and b from 1.4 to 1.5."""
    with database.write() as session:
        project, _ = create_fleet(session, dict.fromkeys("ab", "1.4"))
        return create_deploy_task(session, upgrade_request(project), now=NOW, who="ann")


def results_of(session: Session, task: DeployTask) -> Sequence[DeployResult]:
    query = select(DeployResult).where(DeployResult.deploy_task_id == task.id)
    return session.scalars(query.order_by(DeployResult.client_id)).all()


def end(database: Database, task: DeployTask, status: str) -> None:
    """Every client of the deploy task ended so, and what that means for its installation is recorded."""
    with database.write() as session:
        for row in results_of(session, task):
            row.status, row.ran, row.attempt = status, True, 1
            record(session, row.target_id, status, task.id)
        get_deploy_task(session, task.id).status = "completed" if status == "success" else "failed"


def record(session: Session, target_id: str, status: str, task_id: str | None, version: str = "1.5") -> None:
    said = {"target_id": target_id, "now": NOW, "deploy_task_id": task_id}
    if status == "success":
        record_success(session, version=version, **said)
    elif status == "failed":
        record_failure(session, **said)
    else:
        record_uninstalled(session, **said)


def somebody_else(database: Database, task: DeployTask, status: str, version: str = "1.5") -> None:
    """What another deploy task made of a."""
    with database.write() as session:
        record(session, results_of(session, task)[0].target_id, status, None, version)


def fail_to_go_back(database: Database, task: DeployTask, status: str = "failed") -> None:
    """It was tried, and did not work."""
    state = RollbackState(status=status, execution_id="x.1.back", to_version="1.4", started_at=NOW)
    with database.write() as session:
        for row in results_of(session, task):
            row.status, row.rollback = "failed", state
            if status == "failed":
                record(session, row.target_id, "failed", task.id)


def able(database: Database, task: DeployTask, *, again: bool = False) -> list[str]:
    with database.read() as session:
        return sorted(ways_back(session, get_deploy_task(session, task.id), again=again))


@pytest.mark.parametrize("status", ["success", "failed"])
def test_clients_that_are_as_it_left_them_go_back(database: Database, task, status):
    end(database, task, status)
    assert able(database, task) == ["a", "b"]


@pytest.mark.parametrize(
    ("ended", "then", "version"),
    [
        ("success", "uninstalled", "1.5"),
        ("success", "success", "1.6"),
        ("success", "failed", "1.5"),
        ("failed", "uninstalled", "1.4"),
        ("failed", "success", "1.4"),
        ("failed", "success", "1.5"),
        ("failed", "failed", "1.4"),
    ],
)
def test_client_that_somebody_else_has_changed_since_is_left_alone(
    database: Database, task, ended, then, version
):
    end(database, task, ended)
    somebody_else(database, task, then, version)
    assert able(database, task) == ["b"]


def test_client_to_which_its_version_was_brought_once_more_goes_back(database: Database, task):
    """A repair, say: it has what the deploy task brought."""
    end(database, task, "success")
    somebody_else(database, task, "success")
    assert able(database, task) == ["a", "b"]


@pytest.mark.parametrize("forwards", ["success", "failed"])
@pytest.mark.parametrize("back", ["failed", "unreachable"])
def test_client_that_could_not_be_taken_back_is_tried_again_only_when_a_person_asks(
    database: Database, task, forwards, back
):
    end(database, task, forwards)
    fail_to_go_back(database, task, back)
    assert (able(database, task), able(database, task, again=True)) == ([], ["a", "b"])
    with database.write() as session:
        try_again(session, get_deploy_task(session, task.id), "ab")
    assert able(database, task) == ["a", "b"], "it is asked for"
    somebody_else(database, task, "success", "1.4")
    assert able(database, task) == ["b"], "somebody has repaired a"


def test_uninstall_is_not_rolled_back(database: Database, task):
    with database.write() as session:
        asked = DeployTaskRequest(project_id="shop", operation="uninstall", auto_select_clients=True)
        gone = create_deploy_task(session, asked, now=NOW, who="ann")
    with database.write() as session:
        for row in results_of(session, gone):
            row.status, row.ran = "success", True
            record(session, row.target_id, "uninstalled", gone.id)
    with pytest.raises(PlanningError, match="it uninstalled"), database.write() as session:
        roll_back(session, get_deploy_task(session, gone.id), "ann", NOW)


def test_retry_after_a_rollback_leaves_its_number_behind(database: Database, task):
    """So no execution id is used twice, wherever the retry gets."""
    end(database, task, "failed")
    fail_to_go_back(database, task)
    with database.write() as session:
        results_of(session, task)[1].rollback = None
        prepare_retry(session, get_deploy_task(session, task.id), None, None, "ann", NOW)
        assert [(row.attempt, row.rollback) for row in results_of(session, task)] == [(2, None), (1, None)]


@pytest.mark.parametrize(("script", "left"), [(None, "1.4"), ("echo back", "1.5")])
def test_script_that_takes_clients_back_gets_its_version_s_env_and_not_the_deploy_task_s(
    database: Database, script: str | None, left: str
):
    """By the update_script of the one returned to, and by the rollback_script of the one that is left."""
    with database.write() as session:
        project, _ = create_fleet(session, {"a": "1.4"})
        for version in session.scalars(select(Version)):
            version.env = {"APP_PORT": "8080", "OF": version.version}
            version.rollback_script = script
        asked = upgrade_request(project, env={"APP_PORT": "9090"})
        task = create_deploy_task(session, asked, now=NOW, who="ann")
        assert Recipes(session, task).of(task.plan.clients[0]).env == {"APP_PORT": "9090", "OF": "1.5"}
    end(database, task, "failed")
    with database.read() as session:
        task = get_deploy_task(session, task.id)
        (back,) = ways_back(session, task).values()
        recipe = Recipes(session, task, goes_back=True).of(back)
        assert recipe.env == {"APP_PORT": "8080", "OF": left}
