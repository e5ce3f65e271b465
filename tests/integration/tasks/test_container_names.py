"""The names of containers in the flow `upgrade`: stored and shown before any container starts, with simulated agents."""

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import select

from db.models import Installation
from flows.upgrade import upgrade
from tests.builders import (
    create_container_project,
    create_container_version,
    create_environment,
    create_installation,
    create_target,
)
from tests.integration.tasks.conftest import QUICK, Shop

CLIENTS = ("c1", "c2", "c3")
ONE_FIRST = {**QUICK, "waves": [1, "100%"]}


@dataclass
class Moment:
    """How things were when the first container was to be deployed: names by client, the artifact's rows by client."""

    stored: dict[str, str | None] = field(default_factory=dict)
    shown: dict[str, dict[str, str]] = field(default_factory=dict)


@pytest.fixture
def boxes(quick_shop: Shop) -> Shop:
    """A project of containers on three of the shop's clients, each of which runs version 1.4 as boxes-prod-1."""
    with quick_shop.database.write() as session:
        project = create_container_project(session, "boxes")
        environment = create_environment(session, project, "prod")
        for version in ("1.4", "1.5"):
            create_container_version(session, project, version)
        for client_id in CLIENTS:
            create_installation(session, create_target(session, environment, client_id), "1.4")
        made = replace(quick_shop, project_id=project.id)
    for client_id in CLIENTS:
        own = {"project_id": made.project_id, "client_id": client_id}
        made.client(client_id).engine.add("boxes-prod-1", version="1.4", **own)
    return made


def look_at_first_deployment(boxes: Shop, prefect_api: str, task_id: str) -> Moment:
    """It is filled when the first `container.deploy` comes to any of the agents, which waits meanwhile."""
    seen = Moment()

    def look() -> None:
        if not seen.stored:
            seen.stored = {name: row.container_name for name, row in boxes.results(task_id).items()}
            answer = httpx.get(f"{prefect_api}/artifacts/upgrade-containers-{task_id}/latest", timeout=30)
            rows = json.loads(answer.json()["data"]) if answer.status_code == 200 else []
            seen.shown = {row["client"]: row for row in rows}

    boxes.fleet.before_deployment = look
    return seen


def asked_names(boxes: Shop) -> dict[str, list[str | None]]:
    """Under which names each client's agent was asked to deploy."""
    return {client: [one.name for one in boxes.client(client).engine.deployments] for client in CLIENTS}


async def test_every_name_is_stored_and_shown_before_the_first_container_starts(boxes, prefect_api):
    boxes.client("c2").engine.add("boxes-prod-2", "exited")  # somebody else's: the name is taken all the same
    boxes.client("c3").engine.containers.clear()
    task_id = boxes.plan(strategy=ONE_FIRST)
    seen = look_at_first_deployment(boxes, prefect_api, task_id)

    assert (await upgrade(deploy_task_id=task_id, return_state=True)).is_completed()

    names = {"c1": "boxes-prod-2", "c2": "boxes-prod-3", "c3": "boxes-prod-1"}
    assert seen.stored == names
    assert {client: row["will be"] for client, row in seen.shown.items()} == names
    assert [seen.shown[client]["runs now"] for client in CLIENTS] == ["boxes-prod-1", "boxes-prod-1", "–"]
    assert {row["image"] for row in seen.shown.values()} == {"boxes:1.5"}
    assert [seen.shown[client]["wave"] for client in CLIENTS] == ["1", "2", "2"]
    assert asked_names(boxes) == {client: [name] for client, name in names.items()}
    assert {client: row.container_name for client, row in boxes.results(task_id).items()} == names


async def test_agent_that_does_not_list_stops_nobody_and_names_its_container_later(boxes, prefect_api):
    boxes.client("c2").engine.lists = False
    task_id = boxes.plan()
    seen = look_at_first_deployment(boxes, prefect_api, task_id)

    assert (await upgrade(deploy_task_id=task_id, return_state=True)).is_completed()

    assert seen.stored == {"c1": "boxes-prod-2", "c2": None, "c3": "boxes-prod-2"}
    assert next(iter(seen.shown)) == "c2"  # those without a name come first
    assert seen.shown["c2"]["will be"] == "named by its agent"
    assert "the agent is away" in seen.shown["c2"]["error"]
    assert asked_names(boxes) == {"c1": ["boxes-prod-2"], "c2": [None], "c3": ["boxes-prod-2"]}
    assert boxes.statuses(task_id) == dict.fromkeys(CLIENTS, "success")
    assert boxes.results(task_id)["c2"].container_name == "boxes-prod-2"


def leave_after_upgrade(boxes: Shop, client: str, **kept: dict) -> None:
    """The client has 1.5, running as boxes-prod-4, and these stopped ones: what differs from its own of 1.4."""
    own = {"project_id": boxes.project_id, "client_id": client}
    engine = boxes.client(client).engine
    engine.containers.clear()
    engine.add("boxes-prod-4", version="1.5", **own)
    for index, fields in kept.items():
        engine.add(f"boxes-prod-{index[1:]}", "exited", **{"version": "1.4", **own, **fields})
    with boxes.database.write() as session:
        query = select(Installation).filter_by(project_id=boxes.project_id, client_id=client)
        row = session.scalars(query).one()
        row.version, row.previous_version = "1.5", "1.4"


async def test_rollback_is_named_after_the_container_that_its_client_kept_last(boxes, prefect_api):
    long_ago = datetime.now(UTC) - timedelta(days=9)
    leave_after_upgrade(boxes, "c1", _1={"started_at": long_ago}, _3={})
    leave_after_upgrade(boxes, "c2", _1={"client_id": "c3"})  # another client's, on the same engine
    leave_after_upgrade(boxes, "c3", _1={"version": "1.3"}, _2={"project_id": "another"})
    kept = boxes.client("c1").engine.containers["boxes-prod-3"].container_id
    task_id = boxes.plan(operation="rollback", version=None, strategy=ONE_FIRST)
    seen = look_at_first_deployment(boxes, prefect_api, task_id)

    assert (await upgrade(deploy_task_id=task_id, return_state=True)).is_completed()

    names = {"c1": "boxes-prod-3", "c2": "boxes-prod-2", "c3": "boxes-prod-3"}
    assert seen.stored == names
    assert {client: row["will be"] for client, row in seen.shown.items()} == names
    assert {row["runs now"] for row in seen.shown.values()} == {"boxes-prod-4"}
    assert asked_names(boxes) == {client: [name] for client, name in names.items()}
    assert boxes.results(task_id)["c1"].container_id == kept
