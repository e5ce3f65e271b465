"""`hoist target`: which clients a project is deployed to."""

from collections.abc import Iterator
from typing import Any

import click

from api.cli.calling import given, pairs, project_argument, say_yes, with_api
from api.cli.environments import choose_environment
from api.cli.errors import Refused
from api.cli.output import Column, Output
from api.cli.release_api import ReleaseApi

COLUMNS: tuple[Column, ...] = (
    ("client", "client_id"),
    ("target", "name"),
    ("environment", "environment"),
    ("labels", "labels"),
    ("priority", "priority"),
    ("id", "id"),
)


@click.group("target")
def group() -> None:
    """Targets: clients in one of a project's environments."""


@group.command("list")
@project_argument
@click.option("--environment", help="Of this environment alone.")
@with_api
def list_targets(api: ReleaseApi, out: Output, *, project: str, environment: str | None) -> None:
    """List a project's targets. Each has its environment's name beside what the API answers."""
    rows = targets_of(api, project, environment)
    out.table(rows, COLUMNS, f"project {project} has no target there: hoist target add")


@group.command("add")
@project_argument
@click.argument("clients", nargs=-1, required=True)
@click.option("--environment", help="Needed where the project has more than one.")
@click.option(
    "--label", "labels", multiple=True, callback=pairs, metavar="NAME=VALUE", help="The targets' labels."
)
@click.option("--priority", type=int, help="Higher goes earlier (0).")
@with_api
def add_targets(
    api: ReleaseApi,
    out: Output,
    *,
    project: str,
    clients: tuple[str, ...],
    environment: str | None,
    labels: dict[str, str],
    priority: int | None,
) -> None:
    """Put CLIENTS into an environment of PROJECT; each target is called as its client."""
    place = choose_environment(api, project, environment)
    made = []
    for client in clients:
        body = given(client_id=client, name=client, labels=labels, priority=priority)
        made.append(api.post("environments", place["id"], "targets", body=body))
        out(f"client {client} is a target of {project} in {place['name']}")
    out.answer(made)


@group.command("remove")
@project_argument
@click.argument("client")
@say_yes("this forgets what the project has installed there")
@with_api
def remove_target(api: ReleaseApi, out: Output, *, project: str, client: str) -> None:
    """Take CLIENT out of PROJECT; its results in deploy tasks stay."""
    target = target_of(list(targets_of(api, project)), project, client)
    api.delete("environments", target["environment_id"], "targets", target["id"])
    out.answer({}, f"client {client} is no target of {project}")


def targets_of(api: ReleaseApi, project: str, environment: str | None = None) -> Iterator[dict[str, Any]]:
    """A project's targets with the names of their environments."""
    places = (
        [choose_environment(api, project, environment)]
        if environment is not None
        else list(api.list("projects", project, "environments"))
    )
    for place in places:
        for target in api.list("environments", place["id"], "targets"):
            yield {**target, "environment": place["name"]}


def target_of(targets: list[dict[str, Any]], project: str, client: str) -> dict[str, Any]:
    """The target that the client is. Raises Refused."""
    for target in targets:
        if client in (target["client_id"], target["id"]):
            return target
    raise Refused(f"client {client} is no target of project {project}", ["hoist target add makes it one"])
