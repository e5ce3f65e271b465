import threading

import pytest
from sqlalchemy import func, select

from db.errors import PermanentDatabaseError
from db.group_commit import GroupCommit
from db.models import Project
from db.session import Database
from tests.builders import create_project


def _count(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(Project)) or 0


def test_a_thousand_small_writes_are_durable_when_their_futures_resolve(database: Database):
    writer = GroupCommit(database)
    futures = [
        writer.submit(lambda session, number=number: create_project(session, f"p{number}").name)
        for number in range(1000)
    ]
    assert [future.result(60) for future in futures] == [f"p{number}" for number in range(1000)]
    assert _count(database) == 1000
    writer.close()


def test_a_future_that_resolved_can_be_read_by_others(database: Database):
    writer = GroupCommit(database)
    for number in range(20):
        writer.submit(lambda session, number=number: create_project(session, f"p{number}") and None).result(
            60
        )
        assert _count(database) == number + 1
    writer.close()


def test_a_write_that_fails_takes_no_other_along(database: Database):
    writer = GroupCommit(database)
    gate = threading.Event()
    first = writer.submit(lambda session: gate.wait(60))
    good = writer.submit(lambda session: create_project(session, "good").name)
    taken = writer.submit(lambda session: create_project(session, "good").name)
    broken = writer.submit(lambda session: 1 / 0)
    later = writer.submit(lambda session: create_project(session, "later").name)
    gate.set()
    assert first.result(60)
    assert (good.result(60), later.result(60)) == ("good", "later")
    assert taken.exception(60) is not None
    assert isinstance(broken.exception(60), ZeroDivisionError)
    assert _count(database) == 2
    writer.close()


def test_closing_writes_what_waits_and_takes_nothing_more(database: Database):
    writer = GroupCommit(database)
    futures = [
        writer.submit(lambda session, number=number: create_project(session, f"p{number}") and None)
        for number in range(50)
    ]
    writer.close()
    assert all(future.done() for future in futures)
    assert _count(database) == 50
    with pytest.raises(PermanentDatabaseError, match="closed"):
        writer.submit(lambda session: None)


def test_a_write_that_fails_only_when_it_is_flushed_takes_no_other_along(database: Database):
    writer = GroupCommit(database)
    gate = threading.Event()
    first = writer.submit(lambda session: gate.wait(60))
    good = writer.submit(lambda session: session.add(Project(name="taken", type="script")))
    broken = writer.submit(lambda session: session.add(Project(name="taken", type="script")))
    later = writer.submit(lambda session: session.add(Project(name="later", type="script")))
    gate.set()
    assert first.result(60)
    assert good.exception(60) is None
    assert broken.exception(60) is not None
    assert later.exception(60) is None
    assert _count(database) == 2
    writer.close()
