"""`hoist version`: what can be deployed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from api.cli.calling import document_option, given, pairs, project_argument, with_api
from api.cli.errors import Refused
from api.cli.output import Column, Output, Row
from api.cli.release_api import ReleaseApi

STATUSES = ("draft", "active", "deprecated")
_SCRIPTS = ("install", "update", "rollback", "uninstall")


def _deploys(row: Row) -> str:
    config = row["deploy_config"]
    if config is not None:
        return f"container {config['image']}"
    scripts = [name for name in _SCRIPTS if row[f"{name}_script"] is not None]
    return "scripts: " + (", ".join(scripts) or "none")


def _rules(row: Row) -> list[str]:
    return [f"{rule['name']}={rule['type']}:{rule['pattern']}" for rule in row["process_config"]["rules"]]


COLUMNS: tuple[Column, ...] = (
    ("version", "version"),
    ("status", "status"),
    ("deploys", _deploys),
    ("rules", _rules),
    ("created", "created_at"),
    ("id", "id"),
)
FIELDS: tuple[Column, ...] = (
    *COLUMNS,
    ("description", "description"),
    ("work dir", "work_dir"),
    ("timeout (s)", "timeout_s"),
    ("interpreter", "interpreter"),
    ("run as", "run_as"),
    ("environment", "env"),
    ("detach method", "detach_method"),
    ("evidence", "evidence"),
)


@click.group("version")
def group() -> None:
    """Versions: what of a project can be deployed."""


@group.command("list")
@project_argument
@click.option("--status", type=click.Choice(STATUSES))
@with_api
def list_versions(api: ReleaseApi, out: Output, *, project: str, status: str | None) -> None:
    """List a project's versions."""
    rows = api.list("projects", project, "versions", status=status)
    out.table(rows, COLUMNS, f"project {project} has no such version: hoist version create")


@group.command("show")
@project_argument
@click.argument("version")
@with_api
def show_version(api: ReleaseApi, out: Output, *, project: str, version: str) -> None:
    """Show one version; its scripts are in --json."""
    out.fields(_find(api, project, version), FIELDS)


def _text(_context: click.Context, _option: click.Parameter, path: Path | None) -> str | None:
    try:
        return path.read_text() if path is not None else None
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"cannot read {path}: {type(error).__name__}") from error


def _rule(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> list[dict[str, str]]:
    rules = []
    for value in values:
        name, equals, rest = value.partition("=")
        kind, colon, pattern = rest.partition(":")
        if not (equals and colon):
            raise click.BadParameter(f"{value!r} is not NAME=TYPE:PATTERN")
        rules.append({"type": kind, "pattern": pattern, "name": name})
    return rules


def _script_option(name: str, what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(f"--{name}", type=click.Path(path_type=Path), callback=_text, help=what)


@group.command("create")
@project_argument
@click.argument("version")
@click.option("--status", type=click.Choice(STATUSES), help="Only an active one is deployed (draft).")
@click.option("--description")
@_script_option("script", "A file with the script that installs and updates.")
@_script_option("rollback-script", "A file with the script that goes back from it.")
@_script_option("uninstall-script", "A file with the script that removes it.")
@click.option("--work-dir", help="Where the scripts run.")
@click.option("--image", help="Of a container project: its image.")
@click.option(
    "--rule",
    "rules",
    multiple=True,
    callback=_rule,
    metavar="NAME=TYPE:PATTERN",
    help="Which processes are its own, such as web=port:8080; any number of times.",
)
@click.option("--env", multiple=True, callback=pairs, metavar="NAME=VALUE", help="Of its scripts.")
@document_option("a version, such as evidence or deploy_config")
@with_api
def create_version(
    api: ReleaseApi,
    out: Output,
    /,
    *,
    project: str,
    version: str,
    script: str | None,
    image: str | None,
    rules: list[dict[str, str]],
    document: dict[str, Any],
    **options: Any,
) -> None:
    """Register VERSION of PROJECT."""
    body = document | given(project_id=project, version=version, **options)
    if script is not None:
        body |= {"install_script": script, "update_script": script}
    if image is not None:
        body["deploy_config"] = (body.get("deploy_config") or {}) | {"image": image}
    if rules:
        body["process_config"] = (body.get("process_config") or {}) | {"rules": rules}
    made = api.post("versions", body=body)
    out.answer(made, f"version {made['version']} of {project} is there, {made['status']}: {made['id']}")


@group.command("change")
@project_argument
@click.argument("version")
@click.option("--status", type=click.Choice(STATUSES))
@click.option("--description")
@document_option("a version")
@with_api
def change_version(
    api: ReleaseApi,
    out: Output,
    /,
    *,
    project: str,
    version: str,
    document: dict[str, Any],
    **options: Any,
) -> None:
    """Change what is given, and nothing else. Scripts don't change once a deploy task used them."""
    row = _find(api, project, version)
    changed = api.patch("versions", row["id"], body=document | given(**options))
    out.answer(changed, f"version {changed['version']} of {project} is changed: {changed['status']}")


def _find(api: ReleaseApi, project: str, version: str) -> dict[str, Any]:
    for row in api.list("projects", project, "versions"):
        if version in (row["version"], row["id"]):
            return row
    raise Refused(
        f"project {project} has no version {version!r}", [f"hoist version list {project} says which"]
    )
