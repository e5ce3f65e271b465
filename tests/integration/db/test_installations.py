"""What becomes of an installation when a release ends: contracts.md, "Installation after a failure"."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from db.documents.evidence import Evidence
from db.models import Installation, InstallationEvent, Project, Target
from db.queries.installations import (
    adopt_installation,
    find_installation,
    list_installations,
    record_failure,
    record_success,
    record_uninstalled,
)
from db.session import Database
from tests.builders import NOW, create_environment, create_fleet, create_installation, create_target

LATER = NOW + timedelta(hours=1)
PROVEN = Evidence(verdict="held", held=True, observed_version="1.5", version_proven=True)


@pytest.fixture
def targets(database: Database) -> dict[str, str]:
    """a has 1.4, b has 1.5 and had 1.4, c has nothing."""
    with database.write() as session:
        create_fleet(session, {"a": "1.4", "b": "1.5", "c": None})
        installed = session.scalars(select(Installation).where(Installation.client_id == "b")).one()
        installed.previous_version = "1.4"
        return {target.client_id: target.id for target in session.scalars(select(Target))}


def _state(database: Database, target_id: str) -> tuple | None:
    with database.read() as session:
        row = find_installation(session, target_id)
        return row and (row.version, row.previous_version, row.status, row.installed_at, row.last_updated_at)


def test_success_writes_version_previous_version_times_and_evidence(database: Database, targets):
    with database.write() as session:
        record_success(
            session, target_id=targets["a"], version="1.5", now=LATER, deploy_task_id=None, evidence=PROVEN
        )
    assert _state(database, targets["a"]) == ("1.5", "1.4", "installed", NOW, LATER)
    with database.read() as session:
        row = find_installation(session, targets["a"])
        assert (row.observed_version, row.evidence) == ("1.5", PROVEN)
        event = session.scalars(select(InstallationEvent)).one()
        assert (event.client_id, event.version, event.previous_version, event.at) == (
            "a",
            "1.5",
            "1.4",
            LATER,
        )


def test_first_success_makes_the_installation(database: Database, targets):
    with database.write() as session:
        record_success(session, target_id=targets["c"], version="1.5", now=LATER, deploy_task_id=None)
    assert _state(database, targets["c"]) == ("1.5", None, "installed", LATER, LATER)


def test_success_at_the_same_version_keeps_the_previous_one(database: Database, targets):
    with database.write() as session:
        record_success(session, target_id=targets["b"], version="1.5", now=LATER, deploy_task_id=None)
    assert _state(database, targets["b"]) == ("1.5", "1.4", "installed", NOW, LATER)


def test_failure_marks_it_failed_and_claims_nothing_new(database: Database, targets):
    with database.write() as session:
        record_failure(session, target_id=targets["b"], now=LATER, deploy_task_id=None)
        assert record_failure(session, target_id=targets["c"], now=LATER, deploy_task_id=None) is None
    assert _state(database, targets["b"]) == ("1.5", "1.4", "failed", NOW, NOW)
    assert _state(database, targets["c"]) is None


def test_success_after_a_failure_is_installed_again(database: Database, targets):
    with database.write() as session:
        record_failure(session, target_id=targets["a"], now=NOW, deploy_task_id=None)
    with database.write() as session:
        record_success(session, target_id=targets["a"], version="1.5", now=LATER, deploy_task_id=None)
    assert _state(database, targets["a"]) == ("1.5", "1.4", "installed", NOW, LATER)


def test_after_a_rollback_the_version_that_was_left_is_nobodys_previous_one(database: Database, targets):
    with database.write() as session:
        session.scalars(
            select(Installation).where(Installation.client_id == "a")
        ).one().previous_version = "1.5"
    with database.write() as session:
        record_success(
            session, target_id=targets["b"], version="1.4", now=LATER, deploy_task_id=None, rolled_back=True
        )
    assert _state(database, targets["b"]) == ("1.4", None, "installed", NOW, LATER)
    assert _state(database, targets["a"]) == ("1.4", None, "installed", NOW, NOW)


def test_uninstalled_stays_in_the_records_and_can_be_installed_again(database: Database, targets):
    with database.write() as session:
        record_uninstalled(session, target_id=targets["b"], now=LATER, deploy_task_id=None)
        assert record_uninstalled(session, target_id=targets["c"], now=LATER, deploy_task_id=None) is None
    assert _state(database, targets["b"]) == ("1.5", None, "uninstalled", NOW, LATER)
    with database.write() as session:
        assert record_failure(session, target_id=targets["b"], now=LATER, deploy_task_id=None) is None
        again = LATER + timedelta(hours=1)
        record_success(session, target_id=targets["b"], version="1.4", now=again, deploy_task_id=None)
    assert _state(database, targets["b"]) == ("1.4", None, "installed", again, again)


def test_adopting_records_what_is_there_and_again_replaces_it(database: Database, targets):
    for version, new in (("0.9", True), ("1.0", False)):
        with database.write() as session:
            target = session.get_one(Target, targets["c"])
            assert adopt_installation(session, target, version, NOW, LATER)[1] is new
        assert _state(database, targets["c"]) == (version, None, "installed", NOW, LATER)


def test_installations_are_filtered_and_paged(database: Database, targets):
    with database.write() as session:
        project = session.get_one(Target, targets["a"]).project_id
        staging = create_environment(session, session.get_one(Project, project), "staging")
        create_installation(session, create_target(session, staging, "s"), "1.4", "failed")

    def names(**wanted) -> list[str]:
        with database.read() as session:
            return [row.client_id for row in list_installations(session, project, **wanted)]

    assert names() == ["a", "b", "s"]
    assert names(version="1.4") == ["a", "s"]
    assert names(environment="staging") == names(status="failed") == names(environment=staging.id) == ["s"]
    assert names(environment="nowhere") == []
    with database.read() as session:
        first = list_installations(session, project, limit=2)
        rest = list_installations(session, project, limit=2, cursor=first[-1].id)
    assert [row.client_id for row in (*first, *rest)] == ["a", "b", "s"]
