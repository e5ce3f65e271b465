"""`hoist project`: pieces of software."""

from typing import Any

import click

from api.cli.calling import document_option, given, project_argument, say_yes, with_api
from api.cli.output import Column, Output
from api.cli.release_api import ReleaseApi

COLUMNS: tuple[Column, ...] = (
    ("project", "name"),
    ("type", "type"),
    ("description", "description"),
    ("id", "id"),
)
FIELDS: tuple[Column, ...] = (
    *COLUMNS,
    ("container naming", "container_naming"),
    ("container config", "container_config"),
    ("kubernetes config", "kubernetes_config"),
    ("strategy", "default_strategy"),
    ("created", "created_at"),
    ("updated", "updated_at"),
)


@click.group("project")
def group() -> None:
    """Projects: pieces of software that are deployed."""


@group.command("list")
@with_api
def list_projects(api: ReleaseApi, out: Output) -> None:
    """List projects."""
    out.table(api.list("projects"), COLUMNS, "no project yet: hoist project create")


@group.command("show")
@project_argument
@with_api
def show_project(api: ReleaseApi, out: Output, project: str) -> None:
    """Show one project."""
    out.fields(api.get("projects", project), FIELDS)


@group.command("create")
@click.argument("name")
@click.option(
    "--type", "kind", type=click.Choice(["script", "container", "kubernetes"]), help="How it is deployed."
)
@click.option("--description")
@document_option("a project, such as container_naming or default_strategy")
@with_api
def create_project(
    api: ReleaseApi,
    out: Output,
    *,
    name: str,
    kind: str | None,
    description: str | None,
    document: dict[str, Any],
) -> None:
    """Register a project."""
    made = api.post("projects", body=document | given(name=name, type=kind, description=description))
    out.answer(made, f"project {made['name']} is there: {made['id']}")


@group.command("change")
@project_argument
@click.option("--name", help="Its new name.")
@click.option("--description")
@document_option("a project")
@with_api
def change_project(
    api: ReleaseApi,
    out: Output,
    *,
    project: str,
    name: str | None,
    description: str | None,
    document: dict[str, Any],
) -> None:
    """Change what is given, and nothing else."""
    changed = api.patch("projects", project, body=document | given(name=name, description=description))
    out.answer(changed, f"project {changed['name']} is changed")


@group.command("delete")
@project_argument
@say_yes("this deletes the project")
@with_api
def delete_project(api: ReleaseApi, out: Output, project: str) -> None:
    """Delete a project that nothing refers to."""
    api.delete("projects", project)
    out.answer({}, f"project {project} is deleted")
