"""`hoist client`: the hosts that run the agent."""

from typing import IO, Any

import click

from api.cli.calling import document_option, given, pairs, say_yes, with_api
from api.cli.output import Column, Output, Row
from api.cli.release_api import ReleaseApi


def _hold(row: Row) -> str:
    held = row["held"]
    return f"{held['reason']}, until {held['until'] or 'let go'}" if held else ""


COLUMNS: tuple[Column, ...] = (
    ("client", "client_id"),
    ("url", "url"),
    ("labels", "labels"),
    ("held", _hold),
)
FIELDS: tuple[Column, ...] = (
    *COLUMNS,
    ("token kept", "has_token"),
    ("created", "created_at"),
    ("updated", "updated_at"),
)
_label = click.option(
    "--label",
    "labels",
    multiple=True,
    callback=pairs,
    metavar="NAME=VALUE",
    help="Its labels; any number of times.",
)
_token_file = click.option(
    "--token-file",
    type=click.File("r"),
    help="A file with the token that its agent wants; - is standard input. Never an argument: those are public.",
)


@click.group("client")
def group() -> None:
    """Clients: hosts that run the agent."""


@group.command("list")
@with_api
def list_clients(api: ReleaseApi, out: Output) -> None:
    """List clients."""
    out.table(api.list("clients"), COLUMNS, "no client yet: hoist client create")


@group.command("show")
@click.argument("client")
@with_api
def show_client(api: ReleaseApi, out: Output, client: str) -> None:
    """Show one client."""
    out.fields(api.get("clients", client), FIELDS)


@group.command("create")
@click.argument("client")
@click.argument("url")
@_label
@_token_file
@with_api
def create_client(
    api: ReleaseApi,
    out: Output,
    *,
    client: str,
    url: str,
    labels: dict[str, str],
    token_file: IO[str] | None,
) -> None:
    """Register CLIENT, whose agent answers at URL.

    Prints the report token that its agent needs as HOIST_AGENT_API_TOKEN: it is shown once.
    """
    body = given(client_id=client, url=url, labels=labels, token=_token(token_file))
    made = api.post("clients", body=body)
    out.answer(made, f"client {made['client_id']} is there", f"HOIST_AGENT_API_TOKEN={made['report_token']}")


@group.command("change")
@click.argument("client")
@click.option("--url", help="Where its agent answers; needs the token again.")
@_label
@_token_file
@document_option("a client")
@with_api
def change_client(
    api: ReleaseApi,
    out: Output,
    *,
    client: str,
    url: str | None,
    labels: dict[str, str],
    token_file: IO[str] | None,
    document: dict[str, Any],
) -> None:
    """Change what is given, and nothing else. Labels are replaced as a whole."""
    body = document | given(url=url, labels=labels, token=_token(token_file))
    changed = api.patch("clients", client, body=body)
    out.answer(changed, f"client {changed['client_id']} is changed")


@group.command("hold")
@click.argument("client")
@click.argument("reason")
@click.option("--until", help="When it is let go by itself, such as 2030-01-31T06:00:00Z.")
@with_api
def hold_client(api: ReleaseApi, out: Output, *, client: str, reason: str, until: str | None) -> None:
    """Let upgrades pass CLIENT over, because of REASON."""
    changed = api.patch("clients", client, body={"held": given(reason=reason, until=until)})
    out.answer(changed, f"client {changed['client_id']} is held: {_hold(changed)}")


@group.command("let-go")
@click.argument("client")
@with_api
def let_client_go(api: ReleaseApi, out: Output, client: str) -> None:
    """Hold CLIENT no longer."""
    changed = api.patch("clients", client, body={"held": None})
    out.answer(changed, f"client {changed['client_id']} is not held")


@group.command("rotate")
@click.argument("client")
@click.option("--overlap", "overlap_s", type=int, help="For how many seconds the old one is good (3600).")
@with_api
def rotate_token(api: ReleaseApi, out: Output, *, client: str, overlap_s: int | None) -> None:
    """Give CLIENT a new report token: it is shown once."""
    body = {} if overlap_s is None else {"overlap_s": overlap_s}
    answer = api.post("clients", client, "rotate", body=body)
    out.answer(answer, f"HOIST_AGENT_API_TOKEN={answer['report_token']}")


@group.command("delete")
@click.argument("client")
@say_yes("this deletes the client with its targets, installations and reports")
@with_api
def delete_client(api: ReleaseApi, out: Output, client: str) -> None:
    """Forget CLIENT; results of deploy tasks and the audit trail stay."""
    api.delete("clients", client)
    out.answer({}, f"client {client} is deleted")


def _token(file: IO[str] | None) -> str | None:
    return file.read().strip() if file is not None else None
