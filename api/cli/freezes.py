"""`hoist freeze`: nothing is deployed for a while."""

import click

from api.cli.calling import complete_project, given, with_api
from api.cli.output import Column, Output
from api.cli.release_api import ReleaseApi

COLUMNS: tuple[Column, ...] = (
    ("freeze", "id"),
    ("of", lambda row: row["project_id"] or "everything"),
    ("environment", "environment_id"),
    ("until", "until"),
    ("by", "who"),
    ("reason", "reason"),
)


@click.group("freeze")
def group() -> None:
    """Freezes: while one lasts, no deploy task it covers is started, and none begins another wave."""


@group.command("list")
@with_api
def list_freezes(api: ReleaseApi, out: Output) -> None:
    """List the freezes that last."""
    out.table(api.list("freezes"), COLUMNS, "nothing is frozen")


@group.command("add")
@click.argument("reason")
@click.option("--project", shell_complete=complete_project, help="Of this project alone (everything).")
@click.option("--environment", help="Of this environment of the project alone.")
@click.option("--until", metavar="TIME", help="Such as 2030-01-01T06:00:00Z; without: until it is lifted.")
@with_api
def add_freeze(
    api: ReleaseApi,
    out: Output,
    *,
    reason: str,
    project: str | None,
    environment: str | None,
    until: str | None,
) -> None:
    """Stop deployments, and say why."""
    body = {"reason": reason, **given(project_id=project, environment=environment, until=until)}
    made = api.post("freezes", body=body)
    out.answer(made, f"frozen: {made['id']}", f"lift it: hoist freeze lift {made['id']}")


@group.command("lift")
@click.argument("freeze")
@with_api
def lift_freeze(api: ReleaseApi, out: Output, freeze: str) -> None:
    """Lift a freeze: what waited for it goes on."""
    api.delete("freezes", freeze)
    out.answer({"id": freeze}, f"freeze {freeze} is lifted")
