"""What a run writes of its clients: every change may be repeated, for the answer to it may be lost."""

import pytest
from cryptography.fernet import Fernet

from db.models import DeployTask
from db.secrets import SecretBox
from db.session import Database
from tasks.outcomes import RESULTS, Book, Outcome, result_of
from tasks.planning import create_deploy_task
from tasks.rollbacks import ROLLBACKS
from tasks.work import load_work
from tests.builders import NOW, create_fleet, upgrade_request

SENT = "t.a.2.update"


@pytest.fixture
def task(database: Database) -> DeployTask:
    """An upgrade of a, whose first attempt failed."""
    with database.write() as session:
        project, _ = create_fleet(session, {"a": "1.4"})
        made = create_deploy_task(session, upgrade_request(project), now=NOW, who="ann")
        row = result_of(session, made.id, "a")
        row.attempt, row.error = 1, "the script exited 1"
        return made


def twice(database: Database, task: DeployTask, change) -> None:
    """Do it, and again, as where the answer to a commit is lost."""
    for _ in range(2):
        with database.write() as session:
            change(session, task.id, load_work(session, task, SecretBox(Fernet.generate_key().decode()))["a"])


def begin(database: Database, task: DeployTask, book: Book = RESULTS) -> None:
    twice(
        database,
        task,
        lambda session, id_, work: book.begin(session, id_, work, attempt=2, execution_id=SENT, now=NOW),
    )


def put_off(database: Database, task: DeployTask, book: Book = RESULTS, execution_id: str = SENT) -> None:
    twice(
        database,
        task,
        lambda session, id_, work: book.put_off(session, id_, work, execution_id),
    )


def row_of(database: Database, task: DeployTask):
    with database.read() as session:
        return result_of(session, task.id, "a")


def test_attempt_that_is_put_off_twice_is_the_next_one_still(database: Database, task):
    begin(database, task)
    put_off(database, task)
    row = row_of(database, task)
    assert (row.status, row.attempt, row.execution_id, row.started_at) == ("pending", 1, None, None)


def test_attempt_that_another_run_began_is_not_put_off(database: Database, task):
    begin(database, task)
    put_off(database, task, execution_id="t.a.1.update")
    row = row_of(database, task)
    assert (row.status, row.attempt, row.execution_id) == ("running", 2, SENT)


def test_rollback_that_another_run_began_is_not_put_off(database: Database, task):
    begin(database, task, ROLLBACKS)
    put_off(database, task, ROLLBACKS, execution_id="t.a.1.back")
    assert row_of(database, task).rollback.execution_id == SENT
    put_off(database, task, ROLLBACKS)
    assert row_of(database, task).rollback is None


@pytest.mark.parametrize("said", ["the script exited 7", "x\0" * 1500])
def test_rollback_that_failed_says_so_once(database: Database, task, said: str):
    begin(database, task, ROLLBACKS)
    twice(
        database,
        task,
        lambda session, id_, work: ROLLBACKS.record(
            session, id_, "rollback", work, Outcome("failed", said), now=NOW
        ),
    )
    row = row_of(database, task)
    assert row.error.startswith("the script exited 1; cannot take it back to 1.5: ")
    assert row.error.count("cannot take it back") == 1
    assert row.rollback.status == "failed"


def test_attempt_remembers_whether_one_before_it_ran(database: Database, task):
    with database.write() as session:
        result_of(session, task.id, "a").ran = True
    begin(database, task)
    twice(
        database,
        task,
        lambda session, id_, work: RESULTS.record(
            session, id_, "update", work, Outcome("unknown", "nobody knows"), now=NOW
        ),
    )
    row = row_of(database, task)
    assert (row.ran, row.ran_before) == (True, True)
