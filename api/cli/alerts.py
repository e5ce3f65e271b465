"""`hoist alerts`: what is wrong."""

import click

from api.cli.calling import complete_project, given, with_api
from api.cli.output import Column, Output
from api.cli.release_api import ReleaseApi

COLUMNS: tuple[Column, ...] = (
    ("fired", "fired_at"),
    ("level", "level"),
    ("status", lambda row: "silenced" if row["silenced"] else row["status"]),
    ("client", "client_id"),
    ("type", "type"),
    ("title", "title"),
    ("resolved", "resolved_at"),
)


@click.command("alerts")
@click.option(
    "--status",
    type=click.Choice(["firing", "resolved", "all"]),
    default="firing",
    help="Which ones (firing).",
)
@click.option("--project", shell_complete=complete_project, help="Those of this project.")
@click.option("--client", help="Those of this client.")
@click.option("--limit", type=click.IntRange(min=1), default=100, help="At most so many (100).")
@with_api
def list_alerts(
    api: ReleaseApi, out: Output, *, status: str, project: str | None, client: str | None, limit: int
) -> None:
    """Alerts, the newest first: those that fire, unless --status says otherwise."""
    query = given(status=None if status == "all" else status, project_id=project, client_id=client)
    out.table(api.list("alerts", limit=limit, **query), COLUMNS, "no such alert")
