"""`hoist plan`, `install`, `upgrade`, `rollback`, `uninstall`: a deploy task is made, shown, and started."""

from typing import Any

import click

from api.cli.calling import project_argument, with_api
from api.cli.deploy_options import deploy_options, task_request
from api.cli.errors import CliError
from api.cli.output import Column, Output, note, print_table
from api.cli.release_api import ReleaseApi
from api.cli.rollout import Task, headline, passed_over, waves_of
from api.cli.watching import follow

WAVES: tuple[Column, ...] = (("wave", "wave"), ("clients", "clients"), ("who", "who"))
PASSED_OVER: tuple[Column, ...] = (("passed over", "client_id"), ("because", "reason"), ("detail", "detail"))
OPERATIONS = ("install", "update", "rollback", "uninstall", "deploy")

watch_option = click.option(
    "--watch", is_flag=True, help="Follow it to its end; Ctrl-C stops the watching, not the deploy task."
)


@click.command("plan")
@project_argument
@click.argument("version", required=False)
@click.option("--operation", type=click.Choice(OPERATIONS), default="update", help="What to do (update).")
@deploy_options
@with_api
def plan(
    api: ReleaseApi,
    out: Output,
    /,
    *,
    project: str,
    version: str | None,
    operation: str,
    **options: Any,
) -> None:
    """Show who would be brought to VERSION of PROJECT, in which waves, and who is passed over and why.

    The plan is kept as a deploy task that touches nobody until it is started with `hoist start`.
    """
    task = _make(api, out, project=project, version=version, operation=operation, options=options)
    out.answer(task, f"start it: hoist start {task['id']}", f"drop it: hoist cancel {task['id']}")


def _command(name: str, operation: str, help_text: str, *, version_required: bool) -> click.Command:
    @click.command(name, help=help_text)
    @project_argument
    @click.argument("version", required=version_required)
    @deploy_options
    @watch_option
    @with_api
    def deploy(
        api: ReleaseApi,
        out: Output,
        /,
        *,
        project: str,
        version: str | None,
        watch: bool,
        **options: Any,
    ) -> None:
        task = _make(api, out, project=project, version=version, operation=operation, options=options)
        start(api, out, task["id"], {}, watch=watch)

    return deploy


install = _command(
    "install",
    "install",
    "Install VERSION of PROJECT where it is not yet: name the clients with --client or --label.",
    version_required=True,
)
upgrade = _command(
    "upgrade",
    "update",
    "Bring the clients that have PROJECT to VERSION, in waves.\n\n"
    "Without --client or --label it is all of them; --from narrows them to those that have one version. It stops at "
    "the first failure, unless --max-failures or --keep-going say otherwise.\n\n"
    "\b\nhoist upgrade shop 1.1.0 --from 1.0.0 --watch\n"
    "hoist upgrade shop 1.1.0 --environment prod --waves 1,10%,50%,100% --max-failures 2%",
    version_required=True,
)
rollback = _command(
    "rollback",
    "rollback",
    "Take the clients that have PROJECT back: each to its own previous version, or all to VERSION.",
    version_required=False,
)
uninstall = _command(
    "uninstall", "uninstall", "Remove PROJECT from the clients that have it.", version_required=False
)


def _make(
    api: ReleaseApi,
    out: Output,
    *,
    project: str,
    version: str | None,
    operation: str,
    options: dict[str, Any],
) -> Task:
    """Make the deploy task, and show its plan."""
    task: Task = api.post("tasks", body=task_request(api, project, version, operation, options))
    if not out.as_json:
        out(f"{headline(task, project)}, deploy task {task['id']}")
        print_table(waves_of(task), WAVES)
        print_table(passed_over(task), PASSED_OVER)
    else:
        note(f"deploy task {task['id']}")  # known even if nothing else gets to be said
    return task


def start(
    api: ReleaseApi, out: Output, task_id: str, body: dict[str, Any], *, watch: bool, verb: str = "start"
) -> None:
    """Start a deploy task, or `retry` one, and follow it where that is wanted."""
    try:
        answer = api.post("tasks", task_id, verb, body=body)
    except CliError as error:
        raise type(error)(
            str(error), [*error.details, f"deploy task {task_id} is not started: hoist status {task_id}"]
        ) from error
    note(f"started: {answer['flow_run_url']}")
    if answer.get("warning"):
        note(f"warning: {answer['warning']}")
    if watch:
        follow(api, out, task_id, started=True)
    else:
        out.answer({**api.get("tasks", task_id), **answer}, f"watch it: hoist watch {task_id}")
