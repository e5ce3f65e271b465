"""TEST-005 of requirements.md: an upgrade selects its clients itself, on SQLite and on PostgreSQL."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from db.documents.deploy_request import DeployTaskRequest, Selector
from db.documents.strategy import Strategy
from db.models import AuditEntry, Client, DeployResult, DeployTask, Installation, Target, Version
from db.queries.installations import list_installations
from db.session import Database
from tasks.errors import NotFoundError, PlanningError
from tasks.planning import counts_of, create_deploy_task, preview_deploy_task
from tests.builders import (
    NOW,
    create_client,
    create_environment,
    create_fleet,
    create_installation,
    create_project,
    create_target,
    create_version,
    upgrade_request,
)


def _skipped(task) -> dict[str, str]:
    return {one.client_id: one.reason for one in task.skipped}


def _create(database: Database, request: DeployTaskRequest, **values) -> DeployTask:
    with database.write() as session:
        return create_deploy_task(session, request, now=NOW, who="ann", **values)


def _refused(database: Database, request: DeployTaskRequest) -> PlanningError:
    with pytest.raises(PlanningError) as refusal:
        _create(database, request)
    with database.read() as session:
        for table in (DeployTask, DeployResult, AuditEntry):
            assert session.scalar(select(func.count()).select_from(table)) == 0
    return refusal.value


def test_clients_are_filled_from_the_installations_of_the_source_version(database: Database):
    with database.write() as session:
        fleet = {"a": "1.4", "b": "1.4", "c": "1.3", "d": "1.5", "e": None}
        project, environment = create_fleet(session, fleet, versions=("1.3", "1.4", "1.5"))
    task = _create(database, upgrade_request(project, source_version="1.4"))
    assert [client.client_id for client in task.plan.clients] == ["a", "b"]
    assert task.selected_from_version == "1.4"
    assert _skipped(task) == {"e": "not_installed"}
    assert (task.environment, task.status, task.created_by) == (environment.name, "pending", "ann")
    with database.read() as session:
        assert counts_of(session, task.id).pending == counts_of(session, task.id).total == 2
        assert session.scalars(select(AuditEntry.action)).all() == ["deploy_task.create"]


def test_without_a_source_version_all_are_taken_and_several_sources_are_null(database: Database):
    with database.write() as session:
        fleet = {"a": "1.4", "b": "1.3", "c": "1.5", "d": "1.6", "e": None, "f": "1.4", "g": "1.4"}
        project, _ = create_fleet(session, fleet, versions=("1.3", "1.4", "1.5", "1.6"))
        session.get_one(Client, "f").held_reason = "disk is being replaced"
        session.scalars(select(Installation).where(Installation.client_id == "g")).one().status = "failed"
    task = _create(database, upgrade_request(project))
    assert [client.client_id for client in task.plan.clients] == ["a", "b"]
    assert task.selected_from_version is None
    assert _skipped(task) == {
        "c": "already_at_version",
        "d": "would_be_downgrade",
        "e": "not_installed",
        "f": "held",
        "g": "status_not_installed",
    }
    assert next(one.detail for one in task.skipped if one.client_id == "f") == "disk is being replaced"


def test_the_reasons_can_be_overruled_where_the_request_says_so(database: Database):
    with database.write() as session:
        project, _ = create_fleet(
            session, {"a": "1.6", "b": "1.4", "c": "1.4"}, versions=("1.4", "1.5", "1.6")
        )
        session.scalars(select(Installation).where(Installation.client_id == "b")).one().status = "failed"
        held = session.get_one(Client, "c")
        held.held_reason, held.held_until = "until noon", NOW - timedelta(seconds=1)
    task = _create(database, upgrade_request(project, allow_downgrade=True, include_failed=True))
    assert [client.client_id for client in task.plan.clients] == ["a", "b", "c"]


def test_explicit_clients_and_exclusions(database: Database):
    with database.write() as session:
        project, _ = create_fleet(session, {"a": "1.4", "b": "1.4", "c": "1.4"})
    task = _create(database, upgrade_request(project, client_ids=("c", "a"), exclude_client_ids=("a",)))
    assert [client.client_id for client in task.plan.clients] == ["c"]
    assert _skipped(task) == {"a": "excluded"}


@pytest.mark.parametrize("field", ["client_ids", "exclude_client_ids"])
def test_unknown_clients_are_named(database: Database, field: str):
    with database.write() as session:
        project, _ = create_fleet(session, {"a": "1.4"})
        create_client(session, "elsewhere")
    error = _refused(database, upgrade_request(project, **{field: ("a", "elsewhere", "typo")}))
    assert error.field == field
    assert "elsewhere, typo" in str(error)


def test_clients_of_another_environment_are_refused(database: Database):
    with database.write() as session:
        project, _ = create_fleet(session, {"a": "1.4"})
        create_target(session, create_environment(session, project, "staging"), "s")
    error = _refused(database, upgrade_request(project, client_ids=("a", "s"), environment="prod"))
    assert "prod: s" in str(error)


def test_selector_takes_labels_of_clients_and_targets(database: Database):
    with database.write() as session:
        project, _ = create_fleet(session, {"a": "1.4", "b": "1.4", "c": "1.4"})
        session.get_one(Client, "a").labels = {"tier": "web", "rack": "1"}
        session.get_one(Client, "b").labels = {"tier": "web"}
        target = session.scalars(select(Target).where(Target.client_id == "c")).one()
        target.labels = {"tier": "web", "rack": "1"}
    task = _create(database, upgrade_request(project, selector=Selector(labels={"tier": "web", "rack": "1"})))
    assert [client.client_id for client in task.plan.clients] == ["a", "c"]


def test_environment_is_named_where_there_are_several(database: Database):
    with database.write() as session:
        project, environment = create_fleet(session, {"a": "1.4"})
        staging = create_environment(session, project, "staging")
        create_installation(session, create_target(session, staging, "s"), "1.4")
    error = _refused(database, upgrade_request(project))
    assert error.field == "environment"
    assert "prod, staging" in str(error)
    assert "no environment 'test'" in str(_refused(database, upgrade_request(project, environment="test")))
    chosen = {}
    for named in ("staging", environment.id, "*"):
        task = _create(database, upgrade_request(project, environment=named))
        chosen[task.environment] = [client.client_id for client in task.plan.clients]
    assert chosen == {"staging": ["s"], "prod": ["a"], "*": ["a", "s"]}


def test_nobody_left_names_project_and_source_version_and_stores_nothing(database: Database):
    with database.write() as session:
        project, _ = create_fleet(session, {"a": "1.5", "b": None})
    error = _refused(database, upgrade_request(project, source_version="1.2"))
    assert "no client of shop with version 1.2 is left to update" in str(error)
    error = _refused(database, upgrade_request(project))
    assert "1 already at version, 1 not installed" in str(error)


def test_what_is_wrong_with_the_version_is_said(database: Database):
    with database.write() as session:
        project, _ = create_fleet(session, {"a": "1.4"})
        create_version(session, project, "1.6", status="draft")
        create_version(session, project, "1.7", update_script="  ")
        other = create_version(session, create_project(session, "other"), "9")
    assert "has no version '8'" in str(_refused(database, upgrade_request(project, "8")))
    assert "is draft" in str(_refused(database, upgrade_request(project, "1.6")))
    error = _refused(database, upgrade_request(project, "1.7"))
    assert (error.field, "has no update_script" in str(error)) == ("update_script", True)
    by_id = DeployTaskRequest(
        project_id="shop", version_id=other.id, operation="update", auto_select_clients=True
    )
    assert _refused(database, by_id).field == "version_id"
    with pytest.raises(NotFoundError):
        _create(database, by_id.model_copy(update={"project_id": "nothing"}))


def test_plan_is_cut_into_waves_by_priority_and_name(database: Database):
    with database.write() as session:
        project, _ = create_fleet(session, {f"c{number}": "1.4" for number in range(8)})
        session.scalars(select(Target).where(Target.client_id == "c7")).one().priority = 5
    task = _create(database, upgrade_request(project, strategy=Strategy()))
    assert task.plan.waves == (("c7",), ("c0", "c1"), ("c2", "c3", "c4", "c5", "c6"))
    assert {client.client_id: client.wave for client in task.plan.clients}["c2"] == 2


def test_projects_default_strategy_is_used(database: Database):
    with database.write() as session:
        project, _ = create_fleet(session, {"a": "1.4", "b": "1.4"})
        project.default_strategy = Strategy(waves=(1,))
    request = DeployTaskRequest(project_id="shop", version="1.5", auto_select_clients=True)
    assert _create(database, request).plan.waves == (("a",), ("b",))


def test_digest_covers_selection_versions_and_scripts(database: Database):
    with database.write() as session:
        project, environment = create_fleet(session, {"a": "1.4"})

    def digest() -> str:
        with database.read() as session:
            return preview_deploy_task(session, upgrade_request(project), NOW).plan.digest

    digests = [digest()]
    assert digest() == digests[0]
    with database.write() as session:
        create_installation(session, create_target(session, environment, "b"), "1.4")
    digests.append(digest())
    with database.write() as session:
        session.scalars(select(Installation).where(Installation.client_id == "b")).one().version = "1.3"
    digests.append(digest())
    with database.write() as session:
        session.scalars(select(Version).where(Version.version == "1.5")).one().update_script = "echo other"
    digests.append(digest())
    assert len(set(digests)) == 4


def test_preview_writes_nothing_and_is_what_creation_makes(database: Database):
    with database.write() as session:
        project, _ = create_fleet(session, {"a": "1.4", "b": None})
    with database.read() as session:
        draft = preview_deploy_task(session, upgrade_request(project), NOW)
        assert session.scalars(select(DeployTask)).all() == []
    task = _create(database, upgrade_request(project))
    assert (draft.plan, draft.skipped) == (task.plan, task.skipped)
    assert draft.client_ids == ("a",)


def test_the_same_request_key_makes_one_deploy_task(database: Database):
    with database.write() as session:
        project, _ = create_fleet(session, {"a": "1.4"})
    first = _create(database, upgrade_request(project), request_key="flow-run-1")
    again = _create(database, upgrade_request(project), request_key="flow-run-1")
    other = _create(database, upgrade_request(project), request_key="flow-run-2")
    assert first.id == again.id != other.id


def test_a_fleet_of_thousands_is_planned(database: Database):
    with database.write() as session:
        project, _ = create_fleet(session, {f"c{number:04}": "1.4" for number in range(2000)})
    task = _create(database, upgrade_request(project, strategy=Strategy()))
    assert [len(wave) for wave in task.plan.waves] == [1, 500, 1499]
    with database.read() as session:
        assert len(list_installations(session, project.id, limit=None)) == 2000
        assert counts_of(session, task.id).pending == 2000


def test_the_same_request_key_at_once_makes_one_deploy_task(database: Database):
    with database.write() as session:
        project, _ = create_fleet(session, {"a": "1.4"})
    gate = threading.Barrier(6)
    made: list[str] = []

    def create() -> None:
        gate.wait(60)
        made.append(_create(database, upgrade_request(project), request_key="flow-run-1").id)

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 6
    assert len(set(made)) == 1
