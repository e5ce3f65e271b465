"""`hoist installations`, `hoist adopt`: who has a project, in which version."""

import click

from api.cli.calling import given, project_argument, with_api
from api.cli.output import Column, Output
from api.cli.release_api import ReleaseApi
from api.cli.targets import target_of, targets_of

COLUMNS: tuple[Column, ...] = (
    ("client", "client_id"),
    ("environment", "environment"),
    ("version", "version"),
    ("status", "status"),
    ("observed", "observed_version"),
    ("previous", "previous_version"),
    ("installed", "installed_at"),
    ("updated", "last_updated_at"),
)


@click.command("installations")
@project_argument
@click.option("--version", help="Those that have this version.")
@click.option("--environment", help="Those in this environment.")
@click.option("--status", type=click.Choice(["installed", "failed", "uninstalled"]))
@with_api
def list_installations(
    api: ReleaseApi,
    out: Output,
    *,
    project: str,
    version: str | None,
    environment: str | None,
    status: str | None,
) -> None:
    """Who has PROJECT, in which version.

    OBSERVED is what the version's probe saw there last.
    """
    query = given(version=version, environment=environment, status=status)
    rows = api.list("projects", project, "installations", **query)
    out.table(rows, COLUMNS, f"nobody has {project}, or nobody like that")


@click.command("adopt")
@project_argument
@click.argument("version")
@click.argument("clients", nargs=-1, required=True)
@click.option("--installed-at", help="Since when, such as 2030-01-31T06:00:00Z (now).")
@with_api
def adopt(
    api: ReleaseApi,
    out: Output,
    *,
    project: str,
    version: str,
    clients: tuple[str, ...],
    installed_at: str | None,
) -> None:
    """Record that CLIENTS have VERSION of PROJECT already.

    Nothing is run there, and the version need not be registered.
    """
    targets = list(targets_of(api, project))
    chosen = [target_of(targets, project, client) for client in clients]
    made = []
    for target in chosen:
        body = given(target_id=target["id"], version=version, installed_at=installed_at)
        made.append(api.post("projects", project, "installations", body=body))
        out(f"client {target['client_id']} has {project} {version}")
    out.answer(made)


DRIFT_COLUMNS: tuple[Column, ...] = (
    ("client", "client_id"),
    ("environment", "environment"),
    ("drift", "drift"),
    ("recorded", "recorded_version"),
    ("observed", "observed_version"),
    ("seen", "observed_at"),
)


@click.command("drift")
@project_argument
@click.option("--repair", is_flag=True, help="Make deploy tasks that repair it; start them with hoist start.")
@with_api
def drift(api: ReleaseApi, out: Output, *, project: str, repair: bool) -> None:
    """What is recorded of PROJECT against what its clients report.

    What matches is left out.
    """
    rows = [one for one in api.list("projects", project, "drift") if one["drift"] != "match"]
    if not repair:
        out.table(rows, DRIFT_COLUMNS, f"nothing of {project} has drifted")
        return
    made = api.post("projects", project, "drift", "repair", body={})
    for deploy_task_id in made["deploy_task_ids"]:
        out(f"deploy task {deploy_task_id} repairs it: hoist start {deploy_task_id}")
    out.answer(made)
