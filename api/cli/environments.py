"""`hoist environment`: the parts of a project's fleet."""

from typing import Any

import click

from api.cli.calling import given, project_argument, say_yes, with_api
from api.cli.errors import Refused
from api.cli.output import Column, Output
from api.cli.release_api import ReleaseApi

COLUMNS: tuple[Column, ...] = (("environment", "name"), ("description", "description"), ("id", "id"))


@click.group("environment")
def group() -> None:
    """Environments: parts of a project's fleet, such as prod."""


@group.command("list")
@project_argument
@with_api
def list_environments(api: ReleaseApi, out: Output, project: str) -> None:
    """List a project's environments."""
    rows = api.list("projects", project, "environments")
    out.table(rows, COLUMNS, f"project {project} has no environment yet: hoist environment create")


@group.command("create")
@project_argument
@click.argument("name")
@click.option("--description")
@with_api
def create_environment(
    api: ReleaseApi, out: Output, *, project: str, name: str, description: str | None
) -> None:
    """Add an environment to a project."""
    body = given(name=name, description=description)
    made = api.post("projects", project, "environments", body=body)
    out.answer(made, f"environment {made['name']} is there: {made['id']}")


@group.command("delete")
@project_argument
@click.argument("name")
@say_yes("this deletes the environment")
@with_api
def delete_environment(api: ReleaseApi, out: Output, *, project: str, name: str) -> None:
    """Delete an environment that has no targets."""
    found = choose_environment(api, project, name)
    api.delete("projects", project, "environments", found["id"])
    out.answer({}, f"environment {found['name']} is deleted")


def choose_environment(api: ReleaseApi, project: str, wanted: str | None) -> dict[str, Any]:
    """The environment of that name or id; without one, the only one there is. Raises Refused, click.UsageError."""
    found = list(api.list("projects", project, "environments"))
    chosen = [one for one in found if wanted is None or wanted in (one["name"], one["id"])]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(one["name"] for one in found) or "none"
    if wanted is None:
        raise click.UsageError(f"say --environment: project {project} has {names}")
    raise Refused(f"cannot find environment {wanted!r}: project {project} has {names}")
