"""What commands have in common: the connection, `--json`, documents from files, names that are completed."""

import functools
import json
from collections.abc import Callable
from typing import IO, Any, Concatenate, ParamSpec

import click
from click.shell_completion import CompletionItem

from api.cli.errors import CliError
from api.cli.output import Output
from api.cli.release_api import ReleaseApi
from api.cli.settings import Settings

P = ParamSpec("P")


def with_api(
    command: Callable[Concatenate[ReleaseApi, Output, P], None],
) -> Callable[P, None]:
    """The command gets the release API and where to print, and has `--json`."""

    @click.option("--json", "as_json", is_flag=True, help="Print the API's JSON instead of a table.")
    @functools.wraps(command)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        output = Output(bool(kwargs.pop("as_json")))
        with ReleaseApi(Settings.from_env()) as api:
            command(api, output, *args, **kwargs)

    return call


def document_option(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--file`: a JSON document with any field that the API takes; options win over it."""
    return click.option(
        "--file",
        "document",
        type=click.File("r"),
        callback=_read_document,
        help=f"A JSON document with any field of {what} (see the API's /docs); - is standard input. Options win over it.",
    )


def _read_document(_context: click.Context, _option: click.Parameter, file: IO[str] | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        document = json.load(file)
    except ValueError as error:
        raise click.BadParameter(f"it is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise click.BadParameter("it is not a JSON object")
    return document


def given(**options: Any) -> dict[str, Any]:
    """The options that were given, as fields of a request."""
    return {name: value for name, value in options.items() if value not in (None, (), {})}


def pairs(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """`NAME=VALUE`, any number of times, as one object. Raises click.BadParameter."""
    found = {}
    for value in values:
        name, equals, rest = value.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"{value!r} is not NAME=VALUE")
        found[name] = rest
    return found


def say_yes(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--yes`, without which the command does nothing: it never asks, so that scripts don't hang."""

    def check(_context: click.Context, _option: click.Parameter, value: bool) -> bool:
        if not value:
            raise click.UsageError(f"{what}: say --yes")
        return value

    return click.option("--yes", is_flag=True, callback=check, expose_value=False, help="Needed: " + what)


def complete_project(
    _context: click.Context, _option: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of projects, where the API answers."""
    return _complete(incomplete, lambda api: [row["name"] for row in api.list("projects")])


def complete_task(_context: click.Context, _option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of the newest deploy tasks, where the API answers."""
    return _complete(incomplete, lambda api: [row["id"] for row in api.list("tasks", limit=50)])


def _complete(incomplete: str, ask: Callable[[ReleaseApi], list[str]]) -> list[CompletionItem]:
    try:
        with ReleaseApi(Settings.from_env(), patience_s=2) as api:
            names = ask(api)
    except CliError:
        return []  # nothing may be printed between the person's keys
    return [CompletionItem(name) for name in names if name.startswith(incomplete) and name.isprintable()]


def project_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """PROJECT: an id or a name."""
    return click.argument("project", shell_complete=complete_project)(command)


def task_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """TASK: a deploy task's id."""
    return click.argument("task", shell_complete=complete_task)(command)
