"""What is installed is missed until something serves again: over HTTP, on both databases."""

from datetime import UTC, datetime

import pytest

from agent.wire.naming import ContainerNaming
from db.models import Client, DeployResult, DeployTask, Installation, Project
from db.secrets import sha256_hex
from tasks.planning import create_deploy_task
from tests.builders import (
    NOW,
    create_container_project,
    create_container_version,
    create_environment,
    create_installation,
    create_target,
    upgrade_request,
)
from tests.integration.api.test_alerts import alerts, boxes, container, raised, until

TOKEN = "the-report-token-of-web-01"


@pytest.fixture
def project(served):
    """Installed on web-01."""
    with served.database.write() as session:
        project = create_container_project(session, "boxes")
        for version in ("1.4", "1.5"):
            create_container_version(session, project, version)
        target = create_target(session, create_environment(session, project), "web-01")
        create_installation(session, target)
        session.get(Client, "web-01").report_token_sha256 = sha256_hex(TOKEN)
        return project


@pytest.fixture
def agent(served, project):
    return served.client(TOKEN)


def ours(name="boxes-prod-1", container_id="a", state="running"):
    return container(name, container_id, state, project_id="boxes", client_id="web-01")


def fired(operator):
    return until(lambda: alerts(operator, status="firing"))


def test_removed_container_fires_until_it_is_replaced(operator, agent):
    boxes(agent, ours())
    boxes(agent)
    boxes(agent)
    [alert] = fired(operator)
    assert alert["title"] == "boxes on web-01: container stopped (boxes-prod-1)"
    boxes(agent)
    assert [one["status"] for one in alerts(operator)] == ["firing"]
    boxes(agent, ours("boxes-prod-2", "b"))
    assert [one["status"] for one in alerts(operator)] == ["resolved"]


def test_removed_container_fires_until_it_is_uninstalled(operator, served, agent):
    boxes(agent, ours())
    boxes(agent)
    boxes(agent)
    fired(operator)
    with served.database.write() as session:
        session.query(Installation).one().status = "uninstalled"
    boxes(agent)
    assert [one["status"] for one in alerts(operator)] == ["resolved"]


def test_container_that_another_name_claims_now_is_not_gone(served, agent):
    boxes(agent, ours())
    with served.database.write() as session:
        session.query(Project).one().container_naming = ContainerNaming(prefix="crates")
    boxes(agent, ours())
    assert raised(served) == []


def begin(served, project):
    """A deploy task is at work on web-01: its id."""
    with served.database.write() as session:
        task = create_deploy_task(session, upgrade_request(project), now=NOW, who="ann")
        task.status = "running"
        result = session.query(DeployResult).one()
        result.status, result.started_at = "running", datetime.now(UTC)
        return task.id


def end(served, *, task, result):
    with served.database.write() as session:
        row = session.query(DeployResult).one()
        row.status, row.finished_at = result, datetime.now(UTC)
        session.query(DeployTask).one().status = task


@pytest.mark.parametrize("left", [[ours(state="exited")], []], ids=["stopped", "removed"])
def test_deployment_that_leaves_nothing_serving_is_an_alert(operator, served, agent, project, left):
    boxes(agent, ours())
    task_id = begin(served, project)
    boxes(agent, *left)
    boxes(agent, *left)
    assert raised(served) == []
    end(served, task="failed", result="failed")
    boxes(agent, *left)
    [alert] = fired(operator)
    assert (alert["type"], alert["labels"]["subject"]) == ("container_stopped", "boxes-prod-1")
    assert f"last deployed: 1.5, by deploy task {task_id}" in alert["message"]


@pytest.mark.parametrize("left", [[container("boxes-v1", "a", "exited")], []], ids=["stopped", "removed"])
def test_script_that_replaces_its_container_under_another_name_raises_nothing(served, agent, project, left):
    boxes(agent, container("boxes-v1", "a"))
    begin(served, project)
    boxes(agent, *left)
    end(served, task="completed", result="success")
    for _ in range(2):
        boxes(agent, *left, container("boxes-v2", "b"))
    assert raised(served) == []
