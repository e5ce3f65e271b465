"""Deploy tasks of container projects: which deploy_config is carried out where, and how the containers are called."""

import pytest
from pydantic import ValidationError
from sqlalchemy import select

from agent.wire.containers import DeployConfig
from agent.wire.naming import ContainerNaming
from db.documents.deploy_request import DeployTaskRequest, NamingOverride
from db.models import DeployTask, Environment, Installation, Project, Version
from db.queries.versions import versions_by_name
from tasks.errors import PlanningError
from tasks.planning import create_deploy_task, fleet_changes, preview_deploy_task
from tasks.planning.going_back import plan_back
from tasks.planning.naming import effective_naming
from tasks.recipes import Recipes
from tests.builders import (
    NOW,
    create_container_project,
    create_container_version,
    create_environment,
    create_fleet,
    create_installation,
    create_target,
)


@pytest.fixture
def versions(database):
    """Project shop in prod: a has 1.4 (before it 1.3), b has 1.5 (before it 1.4), c has nothing."""
    with database.write() as session:
        project = create_container_project(session)
        environment = create_environment(session, project)
        for client_id, version, previous in (("a", "1.4", "1.3"), ("b", "1.5", "1.4"), ("c", None, None)):
            target = create_target(session, environment, client_id)
            if version is not None:
                create_installation(session, target, version, previous_version=previous)
        rows = [create_container_version(session, project, name) for name in ("1.3", "1.4", "1.5")]
        return {row.version: row.id for row in rows}


def request_of(operation="update", **values):
    if "client_ids" not in values:
        values.setdefault("auto_select_clients", True)
    if operation not in ("rollback", "uninstall"):
        values.setdefault("version", "1.5")
    return DeployTaskRequest(project_id="shop", operation=operation, **values)


def draft(database, operation="update", **values):
    with database.read() as session:
        return preview_deploy_task(session, request_of(operation, **values), NOW)


def plan_of(made, versions):
    names = {version_id: name for name, version_id in versions.items()}
    return {
        one.client_id: (one.from_version, one.to_version, names[one.version_id]) for one in made.plan.clients
    }


def add_project(database, prefix, **naming):
    with database.write() as session:
        create_container_project(
            session, f"project-{prefix}", container_naming=ContainerNaming(prefix=prefix, **naming)
        )


def set_naming(database, **naming):
    with database.write() as session:
        project = session.scalars(select(Project).where(Project.name == "shop")).one()
        project.container_naming = ContainerNaming(**{"prefix": "shop", **naming})


def refused(database, operation="update", **values):
    with pytest.raises(PlanningError) as caught:
        draft(database, operation, **values)
    with database.read() as session:
        assert session.scalars(select(DeployTask)).all() == []
    return caught.value


def test_each_operation_uses_the_deploy_config_of_the_version_that_is_reached(database, versions):
    wanted = {
        "install": {"c": (None, "1.5", "1.5")},
        "update": {"a": ("1.4", "1.5", "1.5")},
        "deploy": {"a": ("1.4", "1.5", "1.5")},
        "rollback": {"a": ("1.4", "1.3", "1.3"), "b": ("1.5", "1.4", "1.4")},
        "uninstall": {"a": ("1.4", "1.4", "1.4"), "b": ("1.5", "1.5", "1.5")},
    }
    for operation, plan in wanted.items():
        made = draft(database, operation)
        assert plan_of(made, versions) == plan, operation
        assert {one.script_field for one in made.plan.clients} == {"deploy_config"}
    named = draft(database, "deploy", client_ids=("a", "c"))
    assert plan_of(named, versions)["c"] == (None, "1.5", "1.5")
    named = draft(database, "rollback", version="1.3", client_ids=("b",))
    assert plan_of(named, versions) == {"b": ("1.5", "1.3", "1.3")}


def test_digest_covers_the_deploy_config(database, versions):
    before = draft(database).plan
    assert draft(database).plan == before
    with database.write() as session:
        session.get_one(Version, versions["1.4"]).deploy_config = DeployConfig(image="other")
    assert draft(database).plan.digest == before.digest
    with database.write() as session:
        row = session.get_one(Version, versions["1.5"])
        row.deploy_config = DeployConfig(image="shop:1.5", env={"A": "b"})
    after = draft(database).plan
    assert after.digest != before.digest
    with database.write() as session:
        row = session.get_one(Version, versions["1.5"])
        row.deploy_config = DeployConfig(image="shop:1.5")
    assert draft(database).plan.digest == before.digest


def test_changed_deploy_config_is_a_changed_fleet(database, versions):
    with database.write() as session:
        task = create_deploy_task(session, request_of(), now=NOW, who="x")
        assert fleet_changes(session, task, NOW) == []
        session.get_one(Version, versions["1.5"]).deploy_config = DeployConfig(image="other")
        session.flush()
        assert fleet_changes(session, task, NOW) == ["a's deploy_config is another one now"]


@pytest.mark.parametrize(("operation", "gone"), [("rollback", "1.4"), ("uninstall", "1.5")])
def test_version_that_is_not_registered_is_refused(database, versions, operation, gone):
    with database.write() as session:
        session.delete(session.get_one(Version, versions[gone]))
    error = refused(database, operation, client_ids=("b",))
    assert f"cannot {operation} {gone} on b: it is not registered in shop" in str(error)
    assert error.field == "version"


def test_rollback_needs_no_active_version(database, versions):
    with database.write() as session:
        session.get_one(Version, versions["1.4"]).status = "deprecated"
    assert plan_of(draft(database, "rollback", client_ids=("b",)), versions) == {"b": ("1.5", "1.4", "1.4")}


@pytest.mark.parametrize(("field", "value"), [("detach_method", "setsid"), ("detach_process", False)])
@pytest.mark.parametrize("operation", ["install", "update", "rollback", "uninstall"])
def test_what_only_scripts_have_is_refused(database, versions, operation, field, value):
    assert refused(database, operation, **{field: value}).field == field


# --- names


def test_override_goes_over_the_projects_naming(database, versions):
    set_naming(database, separator="_", include_ver=True, max_length=50)
    override = NamingOverride(prefix="shop_canary")
    with database.write() as session:
        task = create_deploy_task(session, request_of(container_naming=override), now=NOW, who="x")
        task_id = task.id
    with database.read() as session:
        task = session.get_one(DeployTask, task_id)
        project = session.get_one(Project, task.project_id)
        assert effective_naming(project, task.request) == ContainerNaming(
            prefix="shop_canary", separator="_", include_ver=True, max_length=50
        )
        assert effective_naming(project, request_of()) == project.container_naming


@pytest.mark.parametrize(
    ("naming", "override", "field"),
    [
        ({"template": "shop-${ENV}"}, {"prefix": "other"}, "template"),
        ({}, {"template": "other-${ENV}"}, "template"),
        ({"max_length": 20}, {"prefix": "x" * 20}, "max_length"),
        ({"max_length": 20}, {"template": "${PREFIX}-${TIMESTAMP}"}, "max_length"),
        ({}, {"prefix": "shop-"}, "prefix"),
    ],
)
def test_override_that_does_not_fit_the_projects_naming_is_refused(
    database, versions, naming, override, field
):
    set_naming(database, **naming)
    error = refused(database, container_naming=NamingOverride(**override))
    assert error.field == f"container_naming.{field}"


def test_override_with_another_projects_prefix_is_refused_naming_it(database, versions):
    add_project(database, "store")
    error = refused(database, container_naming=NamingOverride(prefix="store"))
    assert "the prefix store is project project-store's" in str(error)
    assert error.field == "container_naming.prefix"


def test_override_below_another_projects_prefix_is_refused(database, versions):
    add_project(database, "store")
    error = refused(database, container_naming=NamingOverride(prefix="store-canary"))
    assert "a container named store-canary-prod-1 would count as project project-store's" in str(error)


def test_override_is_refused_where_no_container_is_made(database, versions):
    override = NamingOverride(prefix="shop-canary")
    assert refused(database, "uninstall", container_naming=override).field == "container_naming"
    with database.write() as session:
        create_fleet(session, {"d": "1.4"}, project_name="plain")
        request = DeployTaskRequest(
            project_id="plain",
            version="1.5",
            operation="update",
            auto_select_clients=True,
            container_naming=override,
        )
        with pytest.raises(PlanningError, match="deploys no containers") as caught:
            preview_deploy_task(session, request, NOW)
    assert caught.value.field == "container_naming"


def test_environment_that_makes_the_names_another_projects_is_refused(database, versions):
    add_project(database, "shop-prod")
    error = refused(database)
    assert "a container named shop-prod-1 would count as project project-shop-prod's" in str(error)
    assert "override the prefix or the template" in str(error)
    assert error.field == "container_naming"
    for override in (NamingOverride(prefix="shop-live"), NamingOverride(template="${PREFIX}-x-${ENV}")):
        assert draft(database, container_naming=override).client_ids == ("a",)


def test_only_the_environments_that_are_meant_are_looked_at(database, versions):
    add_project(database, "shop-api")
    with database.write() as session:
        project = session.scalars(select(Project).where(Project.name == "shop")).one()
        api = create_environment(session, project, "api")
        create_installation(session, create_target(session, api, "z"), "1.4")
    assert draft(database, environment="prod").client_ids == ("a",)
    assert "shop-api-1" in str(refused(database, environment="api"))
    assert "shop-api-1" in str(refused(database, environment="*"))
    assert draft(database, environment="*", exclude_client_ids=("z",)).client_ids == ("a",)


def test_version_in_the_name_counts_too(database, versions):
    set_naming(database, template="${PREFIX}-${VERSION}")
    add_project(database, "shop-1.4")
    assert draft(database).client_ids == ("a",)
    assert "named shop-1.4 would count" in str(refused(database, "rollback", client_ids=("b",)))


@pytest.mark.parametrize(
    ("prefix", "clashes"), [("shop-prod-2", True), ("shop-prod-02", False), ("shop-qa-2", False)]
)
def test_prefix_that_an_index_leads_to_is_refused(database, versions, prefix, clashes):
    add_project(database, prefix)
    if clashes:
        assert "named shop-prod-2 would count" in str(refused(database))
    else:
        assert draft(database).client_ids == ("a",)


def test_names_that_only_begin_alike_are_fine(database, versions):
    for prefix, separator in (("shop-pro", "-"), ("shop-prod", "_"), ("shop2", "-"), ("sho", "-")):
        add_project(database, prefix, separator=separator)
    assert draft(database).client_ids == ("a",)


def test_uninstall_is_never_refused_for_a_name(database, versions):
    add_project(database, "shop-prod")
    assert draft(database, "uninstall").client_ids == ("a", "b")


def test_project_that_came_between_is_a_changed_fleet(database, versions):
    with database.write() as session:
        task_id = create_deploy_task(session, request_of(), now=NOW, who="x").id
    add_project(database, "shop-prod")
    with database.read() as session:
        (change,) = fleet_changes(session, session.get_one(DeployTask, task_id), NOW)
    assert "would count as project project-shop-prod's" in change


def test_clients_with_nothing_are_still_passed_over(database, versions):
    made = draft(database, "rollback")
    assert [(one.client_id, one.reason) for one in made.skipped] == [("c", "not_installed")]
    with database.read() as session:
        assert len(session.scalars(select(Installation)).all()) == 2
        assert len(session.scalars(select(Environment)).all()) == 1


@pytest.mark.parametrize(
    ("values", "field"),
    [({"operation": "rollback", "env": {"A": "b"}}, "env"), ({"keep_previous": 11}, "keep_previous")],
)
def test_what_a_container_can_t_obey_is_refused(database, versions, values, field):
    with database.write() as session, pytest.raises((PlanningError, ValidationError), match=field):
        preview_deploy_task(session, request_of(**values), NOW)


def test_script_project_keeps_no_previous_containers(database):
    with database.write() as session:
        project, _ = create_fleet(session, {"s": "1.4"}, project_name="scripts")
        asked = DeployTaskRequest(
            project_id=project.id,
            version="1.5",
            operation="update",
            auto_select_clients=True,
            keep_previous=2,
        )
        with pytest.raises(PlanningError, match="no containers"):
            preview_deploy_task(session, asked, NOW)


def test_env_of_a_deploy_task_is_not_that_of_what_its_clients_are_taken_back_to(database, versions):
    asked = request_of(client_ids=["a"], env={"MODE": "canary"})
    with database.write() as session:
        task = create_deploy_task(session, asked, now=NOW, who="ann")
        project = session.get_one(Project, task.project_id)
        by_name = versions_by_name(session, project.id, set(versions))
        back = plan_back(project, task.plan.clients[0], by_name)
        forwards = Recipes(session, task).of(task.plan.clients[0])
        backwards = Recipes(session, task, goes_back=True).of(back)
        assert forwards.deploy_config.env["MODE"] == "canary"
        assert backwards.deploy_config == by_name["1.4"].deploy_config
