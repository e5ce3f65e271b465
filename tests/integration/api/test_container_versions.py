"""Versions of container projects, and what a deployment left in their results, over HTTP on both databases."""

import pytest
from sqlalchemy import update

from db.models import DeployResult
from tasks.planning import create_deploy_task
from tests.builders import (
    NOW,
    create_container_project,
    create_container_version,
    create_environment,
    create_installation,
    create_project,
    create_target,
    upgrade_request,
)
from tests.served_api import assert_problem

VERSIONS = "/release/versions"
BODY = {"project_id": "shop", "version": "1.5", "deploy_config": {"image": "shop:1.5"}}
FULL = {
    "image": "registry.example:5000/shop@sha256:" + "a" * 64,
    "pull": "always",
    "env": {"GREETING": "hello"},
    "ports": [{"container_port": 80, "host_port": 8080, "host_ip": "127.0.0.1", "protocol": "tcp"}],
    "volumes": [{"source": "/srv/shop", "target": "/data", "read_only": True}],
    "networks": [{"name": "front", "aliases": ["shop"]}],
    "restart_policy": {"name": "on-failure", "max_retries": 3},
    "resources": {"cpus": 0.5, "memory": 64 * 1024 * 1024, "pids": 100},
    "user": "1000:1000",
    "command": ["serve", "--port", "80"],
    "entrypoint": ["/app"],
    "health_check": {
        "command": "test -e /ready",
        "interval_s": 1.5,
        "timeout_s": 1,
        "retries": 2,
        "start_period_s": 0,
    },
    "log": {"driver": "json-file", "options": {"max-size": "1m"}},
    "registry": "our-registry",
    "stop_timeout_s": 20,
}


@pytest.fixture
def project(served):
    with served.database.write() as session:
        create_project(session, "plain")
        return create_container_project(session)


def test_created_version_answers_with_every_default(operator, project):
    answer = operator.post(VERSIONS, json=BODY)
    assert answer.status_code == 201, answer.text
    version = answer.json()
    config = version["deploy_config"]
    assert (config["image"], config["pull"], config["stop_timeout_s"]) == ("shop:1.5", "if_not_present", 10)
    assert config["restart_policy"] == {"name": "unless-stopped", "max_retries": 0}
    assert (version["work_dir"], version["install_script"], version["env"]) == (None, None, {})
    assert version["evidence"]["source"] == "processes"
    assert operator.get(f"{VERSIONS}/{version['id']}").json() == version
    assert operator.get("/release/projects/shop/versions").json() == [version]


def test_everything_that_is_said_is_kept(operator, project):
    made = operator.post(VERSIONS, json={**BODY, "deploy_config": FULL}).json()
    assert made["deploy_config"] == FULL
    assert operator.get(f"{VERSIONS}/{made['id']}").json()["deploy_config"] == FULL


def test_what_to_watch_and_what_to_ask_the_host_is_allowed(operator, project):
    body = {
        **BODY,
        "timeout_s": 60,
        "process_config": {"rules": [{"type": "port", "pattern": "8080", "name": "http"}]},
        "evidence": {
            "version_probe": {"type": "http", "url": "http://127.0.0.1:8080/version"},
            "checks": [{"type": "tcp", "port": 8080}],
        },
    }
    answer = operator.post(VERSIONS, json=body)
    assert answer.status_code == 201, answer.text


OUT_OF_PLACE = [
    ("work_dir", "/srv/shop"),
    ("install_script", "echo"),
    ("update_script", "echo"),
    ("rollback_script", "echo"),
    ("uninstall_script", "echo"),
    ("interpreter", "/bin/sh"),
    ("run_as", "shop"),
    ("detach_method", "setsid"),
    ("env", {"A": "b"}),
]


@pytest.mark.parametrize(("field", "value"), OUT_OF_PLACE)
def test_what_only_scripts_have_is_refused(operator, project, field, value):
    assert_problem(operator.post(VERSIONS, json={**BODY, field: value}), 422, field=field)
    assert operator.get("/release/projects/shop/versions").json() == []
    made = operator.post(VERSIONS, json=BODY).json()
    address = f"{VERSIONS}/{made['id']}"
    assert_problem(operator.patch(address, json={field: value}), 422, field=field)
    assert operator.get(address).json() == made


def test_every_field_that_is_out_of_place_is_named(operator, project):
    body = {"project_id": "shop", "version": "1", **dict(OUT_OF_PLACE), "evidence": {"source": "exit_code"}}
    problem = assert_problem(operator.post(VERSIONS, json=body), 422)
    named = {error["field"] for error in problem["errors"]}
    assert named == {field for field, _ in OUT_OF_PLACE} | {"deploy_config", "evidence.source"}


@pytest.mark.parametrize("fields", [{"env": {}}, {"work_dir": None}, {"evidence": {}}])
def test_what_says_nothing_may_be_sent(operator, project, fields):
    assert operator.post(VERSIONS, json={**BODY, **fields}).status_code == 201


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({}, "deploy_config.image"),
        ({"image": ""}, "deploy_config.image"),
        ({"image": "a b"}, "deploy_config.image"),
        ({"image": "shop:1\n"}, "deploy_config.image"),
        ({"image": "-shop"}, "deploy_config.image"),
        ({"image": "x", "pull": "sometimes"}, "deploy_config.pull"),
        ({"image": "x", "ports": [{"container_port": 0}]}, "deploy_config.ports.0.container_port"),
        ({"image": "x", "volumes": [{"source": "../x", "target": "/x"}]}, "deploy_config.volumes.0.source"),
        ({"image": "x", "volumes": [{"source": "/x", "target": "x"}]}, "deploy_config.volumes.0.target"),
        ({"image": "x", "restart_policy": {"max_retries": 3}}, "deploy_config.restart_policy"),
        ({"image": "x", "resources": {"memory": 1}}, "deploy_config.resources.memory"),
        ({"image": "x", "env": {"1A": "x"}}, "deploy_config.env"),
        ({"image": "x", "env": {"A\n": "x"}}, "deploy_config.env"),
        ({"image": "x", "registry": {"password": "hunter2"}}, "deploy_config.registry"),
        ({"image": "x", "privileged": True}, "deploy_config.privileged"),
        ({"image": "x", "networks": [{"name": "a"}, {"name": "a"}]}, "deploy_config"),
    ],
)
def test_invalid_deploy_config_is_refused(operator, project, config, field):
    answer = operator.post(VERSIONS, json={**BODY, "deploy_config": config})
    problem = assert_problem(answer, 422)
    assert any(error["field"].startswith(field) for error in problem["errors"]), problem
    assert "hunter2" not in answer.text
    assert operator.get("/release/projects/shop/versions").json() == []


def test_version_of_a_script_project_has_a_work_dir_and_no_container(operator, project):
    plain = {"project_id": "plain", "version": "1", "evidence": {"source": "exit_code"}}
    assert_problem(operator.post(VERSIONS, json=plain), 422, field="work_dir")
    body = {**plain, "work_dir": "/srv", "deploy_config": {"image": "x"}}
    assert_problem(operator.post(VERSIONS, json=body), 422, field="deploy_config")
    made = operator.post(VERSIONS, json={**plain, "work_dir": "/srv"}).json()
    assert made["deploy_config"] is None
    refused = operator.patch(f"{VERSIONS}/{made['id']}", json={"deploy_config": {"image": "x"}})
    assert_problem(refused, 422, field="deploy_config")


def test_deploy_config_cannot_be_taken_away(operator, project):
    made = operator.post(VERSIONS, json=BODY).json()
    refused = operator.patch(f"{VERSIONS}/{made['id']}", json={"deploy_config": None})
    assert_problem(refused, 422, field="deploy_config")


@pytest.fixture
def used(served, project):
    """A version, and the deploy task that uses it."""
    with served.database.write() as session:
        environment = create_environment(session, project)
        create_container_version(session, project, "1.4")
        version = create_container_version(session, project, "1.5")
        create_installation(session, create_target(session, environment, "web-01"), "1.4")
        request = upgrade_request(project, "1.5")
    return version, request


def test_deploy_config_changes_until_a_deploy_task_used_it(operator, served, used):
    version, request = used
    address = f"{VERSIONS}/{version.id}"
    other = {"image": "shop:1.5", "stop_timeout_s": 30}
    assert (
        operator.patch(address, json={"deploy_config": other}).json()["deploy_config"]["stop_timeout_s"] == 30
    )
    with served.database.write() as session:
        create_deploy_task(session, request, now=NOW, who="x")
    refused = operator.patch(address, json={"deploy_config": {"image": "shop:1.5"}})
    assert_problem(refused, 409, mentions="deploy_config")
    assert operator.patch(address, json={"deploy_config": other}).status_code == 200
    assert operator.patch(address, json={"status": "deprecated"}).status_code == 200


def test_results_say_which_container_there_is(operator, served, used):
    task = operator.post(
        "/release/tasks",
        json={
            "project_id": "shop",
            "version": "1.5",
            "operation": "update",
            "auto_select_clients": True,
            "container_naming": {"template": "${PREFIX}-${VERSION}"},
        },
    ).json()
    assert task["container_naming"] == {"prefix": None, "template": "${PREFIX}-${VERSION}"}
    results = f"/release/tasks/{task['id']}/results"
    for answer in (operator.get(results).json()[0], operator.get(f"{results}/web-01").json()):
        assert (answer["container_id"], answer["container_name"]) == (None, None)
    with served.database.write() as session:
        session.execute(
            update(DeployResult).values(container_id="c" * 64, container_name="shop-prod-1", status="success")
        )
    for answer in (operator.get(results).json()[0], operator.get(f"{results}/web-01").json()):
        assert (answer["container_id"], answer["container_name"]) == ("c" * 64, "shop-prod-1")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"container_naming": {}}, "container_naming"),
        ({"container_naming": {"prefix": ""}}, "container_naming.prefix"),
        ({"container_naming": {"template": "${PREFIX}-${HOST}"}}, "container_naming.template"),
        ({"container_naming": {"max_length": 40}}, "container_naming.max_length"),
        ({"detach_process": False}, "detach_process"),
        ({"detach_method": "setsid"}, "detach_method"),
    ],
)
def test_bad_deploy_task_is_refused_naming_the_field(operator, used, fields, field):
    body = {"project_id": "shop", "version": "1.5", "operation": "update", "auto_select_clients": True}
    assert_problem(operator.post("/release/tasks", json={**body, **fields}), 422, field=field)
    assert operator.get("/release/tasks").json() == []
