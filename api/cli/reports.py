"""`hoist processes`, `hoist containers`: what clients say runs there."""

from collections.abc import Iterator
from typing import Any

import click

from api.cli.calling import complete_project, project_argument, with_api
from api.cli.cells import size
from api.cli.output import Column, Output, Row
from api.cli.release_api import ReleaseApi

PROCESS_COLUMNS: tuple[Column, ...] = (
    ("client", "client_id"),
    ("version", "version"),
    ("health", "health"),
    ("rule", "matched_by"),
    ("pid", "pid"),
    ("process", "name"),
    ("state", "status"),
    ("CPU %", "cpu_percent"),
    ("MB", "memory_mb"),
    ("started", "start_time"),
    ("reported", "last_report"),
)
CONTAINER_COLUMNS: tuple[Column, ...] = (
    ("client", "client_id"),
    ("container", "container_name"),
    ("image", "image"),
    ("state", "state"),
    ("health", "health"),
    ("restarts", "restart_count"),
    ("CPU %", "cpu_percent"),
    ("memory", lambda row: size(row["memory_usage"])),
    ("started", "started_at"),
    ("reported", "last_report"),
)
OVERVIEW_COLUMNS: tuple[Column, ...] = (
    ("project", "project_name"),
    ("prefix", "prefix"),
    ("containers", "count"),
    ("running", "running"),
)


@click.command("processes")
@project_argument
@with_api
def list_processes(api: ReleaseApi, out: Output, project: str) -> None:
    """What of PROJECT runs on each client that has it, and whether it is well.

    HEALTH is unhealthy where a rule of the version matches nothing, and unknown without a report for three intervals.
    """
    answer = api.get("projects", project, "processes")
    if out.as_json:
        out.answer(answer)
        return
    rows = [row for client in answer["clients"] for row in _process_rows(client)]
    out.table(rows, PROCESS_COLUMNS, f"nobody has {project}")


def _process_rows(client: Row) -> Iterator[dict[str, Any]]:
    """A row for each process, and one for each rule that none matches."""
    known = {name: client[name] for name in ("client_id", "version", "last_report")}
    known["health"] = client["status"]
    for process in client["processes"]:
        yield {**process, **known}
    for rule in client["unmatched_rules"]:
        yield {**known, "matched_by": rule, "name": "no process"}
    if not client["processes"] and not client["unmatched_rules"]:
        yield {**known, "name": "no process" if client["last_report"] else "no report"}


@click.command("containers")
@click.argument("project", required=False, shell_complete=complete_project)
@with_api
def list_containers(api: ReleaseApi, out: Output, project: str | None) -> None:
    """The containers of PROJECT on every client; without one, how many each project has."""
    if project is None:
        _overview(api, out)
        return
    answer = api.get("projects", project, "containers")
    counts = answer["summary"]
    rows = [
        {**container, "client_id": client["client_id"], "last_report": client["last_report"]}
        for client in answer["clients"]
        for container in client["containers"]
    ]
    if out.as_json:
        out.answer(answer)
        return
    out.table(rows, CONTAINER_COLUMNS, f"no report has a container of {project}")
    out(
        f"{counts['total_containers']} containers on {counts['total_clients']} clients, "
        f"{counts['running_count']} running, {counts['stopped_count']} stopped"
    )


def _overview(api: ReleaseApi, out: Output) -> None:
    answer = api.get("containers", "overview")
    if out.as_json:
        out.answer(answer)
        return
    out.table(answer["by_project"], OVERVIEW_COLUMNS, "no project names containers")
    out(f"{answer['total_containers']} containers on the whole fleet")
