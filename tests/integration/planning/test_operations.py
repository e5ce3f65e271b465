"""Which script runs where, for each operation."""

import pytest
from sqlalchemy import select

from db.documents.deploy_request import DeployTaskRequest
from db.models import Environment, Installation, Version
from db.session import Database
from tasks.errors import PlanningError
from tasks.planning import Draft, preview_deploy_task
from tests.builders import NOW, create_fleet, create_installation, create_target


def _draft(database: Database, operation: str, **values) -> Draft:
    values.setdefault("environment", None)
    if "client_ids" not in values:
        values["auto_select_clients"] = True
    request = DeployTaskRequest(project_id="shop", operation=operation, **values)
    with database.read() as session:
        return preview_deploy_task(session, request, NOW)


def _plan(draft: Draft, versions: dict[str, str]) -> dict[str, tuple]:
    names = {version_id: name for name, version_id in versions.items()}
    return {
        one.client_id: (one.from_version, one.to_version, names[one.version_id], one.script_field)
        for one in draft.plan.clients
    }


@pytest.fixture
def versions(database: Database) -> dict[str, str]:
    """A fleet: a has 1.4 (before it 1.3), b has 1.5 (before it 1.4), c has nothing, d had 1.3."""
    with database.write() as session:
        create_fleet(session, {"a": "1.4", "b": "1.5", "c": None, "d": "1.3"}, versions=("1.3", "1.4", "1.5"))
        rows = {row.client_id: row for row in session.scalars(select(Installation))}
        rows["a"].previous_version, rows["b"].previous_version = "1.3", "1.4"
        rows["d"].status = "uninstalled"
        return {row.version: row.id for row in session.scalars(select(Version))}


def test_install_takes_those_that_have_nothing(database: Database, versions):
    draft = _draft(database, "install", version="1.5")
    assert _plan(draft, versions) == {
        "c": (None, "1.5", "1.5", "install_script"),
        "d": (None, "1.5", "1.5", "install_script"),
    }
    assert {one.client_id: one.reason for one in draft.skipped} == dict.fromkeys("ab", "already_at_version")


def test_deploy_updates_what_is_there_and_installs_where_it_is_named(database: Database, versions):
    named = _draft(database, "deploy", version="1.5", client_ids=("a", "c"))
    assert _plan(named, versions) == {
        "a": ("1.4", "1.5", "1.5", "update_script"),
        "c": (None, "1.5", "1.5", "install_script"),
    }
    selected = _draft(database, "deploy", version="1.5")
    assert selected.client_ids == ("a",)


def test_rollback_without_a_version_takes_each_to_its_own(database: Database, versions):
    draft = _draft(database, "rollback")
    assert _plan(draft, versions) == {
        "a": ("1.4", "1.3", "1.4", "rollback_script"),
        "b": ("1.5", "1.4", "1.5", "rollback_script"),
    }
    assert (draft.version, draft.selected_from_version) == (None, None)


def test_rollback_without_a_rollback_script_uses_the_reached_versions_update(database: Database, versions):
    with database.write() as session:
        session.get_one(Version, versions["1.5"]).rollback_script = None
        session.get_one(Version, versions["1.4"]).status = "deprecated"
    draft = _draft(database, "rollback", client_ids=("b",))
    assert _plan(draft, versions) == {"b": ("1.5", "1.4", "1.4", "update_script")}


def test_rollback_that_is_impossible_is_refused_before_anything_is_touched(database: Database, versions):
    with database.write() as session:
        session.get_one(Version, versions["1.5"]).rollback_script = None
        session.get_one(Version, versions["1.4"]).update_script = ""
    with pytest.raises(PlanningError, match=r"version 1\.4 of shop has no update_script"):
        _draft(database, "rollback", client_ids=("b",))


def test_client_without_a_previous_version_is_passed_over(database: Database, versions):
    with database.write() as session:
        row = session.scalars(select(Installation).where(Installation.client_id == "a")).one()
        row.previous_version = None
    draft = _draft(database, "rollback")
    skipped = {one.client_id: (one.reason, one.detail) for one in draft.skipped}
    assert skipped["a"] == ("not_installed", "has no previous version")


def test_uninstall_runs_the_script_of_the_version_that_is_there(database: Database, versions):
    assert _plan(_draft(database, "uninstall"), versions) == {
        "a": ("1.4", "1.4", "1.4", "uninstall_script"),
        "b": ("1.5", "1.5", "1.5", "uninstall_script"),
    }
    assert _draft(database, "uninstall", version="1.4").client_ids == ("a",)


def test_adopted_versions_that_are_not_registered_can_be_left_but_not_uninstalled(
    database: Database, versions
):
    with database.write() as session:
        environment = session.scalars(select(Environment)).one()
        target = create_target(session, environment, "adopted")
        create_installation(session, target, "1.1")
    assert _plan(_draft(database, "update", version="1.5", client_ids=("adopted",)), versions) == {
        "adopted": ("1.1", "1.5", "1.5", "update_script")
    }
    with pytest.raises(PlanningError, match="not registered"):
        _draft(database, "uninstall", client_ids=("adopted",))
