"""`hoist status`, `start`, `watch`, `log`, `retry`, `cancel`: deploy tasks that there are."""

import time
import uuid
from collections.abc import Mapping
from typing import Any

import click

from api.cli.calling import complete_task, given, task_argument, with_api
from api.cli.cells import clean_text, duration
from api.cli.deploying import PASSED_OVER, start, watch_option
from api.cli.output import Column, Output, emit, print_fields, print_table, say
from api.cli.release_api import ReleaseApi
from api.cli.rollout import Task, counts_of, headline, passed_over, state_of, waves_of
from api.cli.watching import follow

STATUSES = ("pending", "scheduled", "running", "canary", "paused", "completed", "failed", "cancelled", "rolling_back", "rolled_back")  # fmt: skip
RETRIED = ("failed", "unreachable", "skipped", "unknown")
POLL_S = 1.0

LIST: tuple[Column, ...] = (
    ("deploy task", "id"),
    ("project", "project"),
    ("operation", "operation"),
    ("from", "selected_from_version"),
    ("to", "version"),
    ("environment", "environment"),
    ("status", "status"),
    ("done", lambda row: f"{row['success_count']}/{row['total_count']}"),
    ("failed", "failed_count"),
    ("created", "created_at"),
)
FIELDS: tuple[Column, ...] = (
    ("deploy task", "id"),
    ("status", state_of),
    ("clients", counts_of),
    ("created", "created_at"),
    ("started", "started_at"),
    ("finished", "finished_at"),
    ("flow run", "flow_run_id"),
)
WAVES: tuple[Column, ...] = (
    ("wave", "wave"),
    ("clients", "clients"),
    ("succeeded", "success"),
    ("failed", "failed"),
    ("running", "running"),
)
RESULTS: tuple[Column, ...] = (
    ("client", "client_id"),
    ("wave", lambda row: row["wave"] + 1),
    ("status", "status"),
    ("attempt", "attempt"),
    ("exit code", "exit_code"),
    ("took", lambda row: duration(row["duration_ms"])),
    ("evidence", lambda row: (row["evidence"] or {}).get("verdict")),
    ("error", "error"),
)


@click.command("status")
@click.argument("what", metavar="[TASK|PROJECT]", required=False, shell_complete=complete_task)
@click.option("--status", type=click.Choice(STATUSES), help="Those alone, in a list.")
@click.option("--limit", type=click.IntRange(min=1), default=20, help="At most so many, in a list (20).")
@with_api
def show_status(api: ReleaseApi, out: Output, *, what: str | None, status: str | None, limit: int) -> None:
    """One deploy task with its waves and clients, or a list of the newest, of a project or of all."""
    if what is not None and _is_id(what):
        task = api.get("tasks", what)
        if out.as_json:
            out.answer(task)
        else:
            _print_task(task, api.get("projects", task["project_id"])["name"])
        return
    rows = list(api.list("tasks", limit=limit, **given(project_id=what, status=status)))
    if not out.as_json:
        names = {row["id"]: row["name"] for row in api.list("projects")}
        rows = [{**row, "project": names.get(row["project_id"])} for row in rows]
    out.table(rows, LIST, "no such deploy task: hoist upgrade")


def _print_task(task: Task, project: str) -> None:
    say(headline(task, project))
    print_fields(task, FIELDS)
    print_table(waves_of(task), WAVES)
    print_table(task["results"], RESULTS)
    print_table(passed_over(task), PASSED_OVER)


def _is_id(text: str) -> bool:
    """No project's name is shaped like a UUID."""
    try:
        return bool(uuid.UUID(text))
    except ValueError:
        return False


@click.command("start")
@task_argument
@click.option("--replan", is_flag=True, help="Where the fleet changed since the plan was made, plan anew.")
@watch_option
@with_api
def start_task(api: ReleaseApi, out: Output, *, task: str, replan: bool, watch: bool) -> None:
    """Start a deploy task that was planned, or one whose run is gone. Refused where the fleet changed meanwhile."""
    start(api, out, task, {"replan": True} if replan else {}, watch=watch)


@click.command("watch")
@task_argument
@with_api
def watch_task(api: ReleaseApi, out: Output, task: str) -> None:
    """Follow a deploy task to its end; Ctrl-C stops the watching, not the deploy task."""
    follow(api, out, task)


@click.command("retry")
@task_argument
@click.option("--client", "client_ids", multiple=True, help="This one; any number of times.")
@click.option(
    "--status", "statuses", multiple=True, type=click.Choice(RETRIED), help="Those; any number of times."
)
@watch_option
@with_api
def retry_task(
    api: ReleaseApi,
    out: Output,
    *,
    task: str,
    client_ids: tuple[str, ...],
    statuses: tuple[str, ...],
    watch: bool,
) -> None:
    """Try clients of an ended deploy task again: the failed, the unreachable and the skipped, unless said otherwise."""
    start(api, out, task, given(client_ids=client_ids, statuses=statuses), watch=watch, verb="retry")


@click.command("cancel")
@task_argument
@click.option("--kill", is_flag=True, help="Kill the scripts that run now; without it they finish.")
@click.option("--comment", default="", help="Why: for the audit trail.")
@with_api
def cancel_task(api: ReleaseApi, out: Output, *, task: str, kill: bool, comment: str) -> None:
    """Start no further client of a deploy task."""
    body = {"running": "kill" if kill else "finish", "comment": comment}
    answer = api.post("tasks", task, "cancel", body=body)
    over = answer["status"] == "cancelled"
    out.answer(answer, f"deploy task {task} " + ("is cancelled" if over else "will end as cancelled"))


@click.command("log")
@task_argument
@click.argument("client")
@click.option("--follow", "-f", is_flag=True, help="Go on until the script ends.")
@with_api
def read_log(api: ReleaseApi, out: Output, *, task: str, client: str, follow: bool) -> None:
    """What the script of a deploy task says on CLIENT, asked of its agent."""
    offset, texts = 0, []
    while True:
        answer: Mapping[str, Any] = api.get("tasks", task, "results", client, "log", offset=offset)
        texts.append(answer["output"])
        if not out.as_json:
            emit(clean_text(answer["output"]))
        if answer["complete"] or (not follow and answer["next_offset"] == offset):
            break
        if answer["next_offset"] == offset:
            time.sleep(POLL_S)
        offset = answer["next_offset"]
    if out.as_json:
        out.answer({**answer, "output": "".join(texts)})
