"""The demo's story: register, install the first version, upgrade whoever has it, read back what came of it."""

import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployments.demo import application
from deployments.demo.errors import DemoError
from deployments.demo.fleet import Fleet

ENDED = ("completed", "failed", "cancelled", "rolled_back", "paused")
STRATEGY = {"waves": [1, "100%"], "stable_for_s": 2, "health_timeout_s": 60}


@dataclass(frozen=True, slots=True)
class Row:
    """One client after the upgrade, as the release API tells it."""

    client: str
    before: str
    after: str
    pid: int | None
    port: str
    proven: bool
    survives: bool | None


def register(fleet: Fleet) -> str:
    """Project, environment, targets and the two versions; answers with the project's id."""
    project = fleet.api.post(
        "/projects", name=application.NAME, type="script", description="A real application"
    )
    environment = fleet.api.post(f"/projects/{project['id']}/environments", name="prod")
    for client_id in fleet.agents:
        target = {"client_id": client_id, "name": client_id, "type": "host"}
        fleet.api.post(f"/environments/{environment['id']}/targets", **target)
    for version in (application.FROM, application.TO):
        fleet.api.post("/versions", **application.version_body(fleet.root, project["id"], version))
    return str(project["id"])


def install(fleet: Fleet, project_id: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Install the first version on every client, all at once."""
    strategy = STRATEGY | {"waves": ["100%"]}
    request = {
        "version": application.FROM,
        "operation": "install",
        "client_ids": list(fleet.agents),
        "strategy": strategy,
    }
    return run(fleet, {"project_id": project_id, **request}, say)


def upgrade(fleet: Fleet, project_id: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Upgrade whoever has the first version."""
    request = {"version": application.TO, "operation": "update", "auto_select_clients": True}
    request |= {"source_version": application.FROM, "strategy": STRATEGY}
    return run(fleet, {"project_id": project_id, **request}, say)


def run(
    fleet: Fleet, request: dict[str, Any], say: Callable[[str], None], timeout_s: float = 600
) -> dict[str, Any]:
    """Create a deploy task, start it and follow it to its end."""
    task = fleet.api.post("/tasks", **request)
    started = fleet.api.post(f"/tasks/{task['id']}/start")
    clients = ", ".join(task["client_ids"])
    name = fleet.api.get(f"/projects/{request['project_id']}")["name"]
    say(f"{name}: {request['operation']} {request['version']} on {clients}: {started.get('flow_run_url')}")
    seen: dict[str, str] = {}
    deadline = time.monotonic() + timeout_s
    while task["status"] not in ENDED:
        time.sleep(0.3)
        crashed = _crash(fleet, started["flow_run_id"])
        task = fleet.api.get(f"/tasks/{task['id']}")
        _tell_changes(
            fleet.api.get(f"/tasks/{task['id']}/results"), seen, lambda line: say(f"  {name} on {line}")
        )
        if task["status"] not in ENDED and (crashed or time.monotonic() > deadline):
            raise DemoError(
                f"deploy task {task['id']} stays {task['status']}: {crashed or 'it takes too long'}"
            )
    return {**task, "flow_run_url": started.get("flow_run_url")}


def _tell_changes(results: list[dict[str, Any]], seen: dict[str, str], say: Callable[[str], None]) -> None:
    for result in results:
        if seen.get(result["client_id"], "pending") != result["status"]:
            seen[result["client_id"]] = result["status"]
            say(f"{result['client_id']}: {result['status']}{_why(result)}")


def _crash(fleet: Fleet, flow_run_id: str) -> str | None:
    state = fleet.flow_run(flow_run_id)["state"]
    if state["type"] not in ("CRASHED", "FAILED"):
        return None
    return f"its flow run {state['name']}: {state['message']}"


def read_back(fleet: Fleet, project_id: str, ports: dict[str, int]) -> list[Row]:
    """What the release API says of every client now; its process report is awaited for a while."""
    installed = {row["client_id"]: row for row in fleet.api.get(f"/projects/{project_id}/installations")}
    rows = []
    for client in _reported(fleet, project_id)["clients"]:
        client_id = client["client_id"]
        row = installed[client_id]
        process: dict[str, Any] = next(iter(client["processes"]), {})
        listening = process.get("ports") or [ports[client_id]]
        proven = row["version"] == row["observed_version"] == application.TO
        port = ", ".join(map(str, listening))
        before = row["previous_version"] or "–"
        survives = process.get("survives_agent_stop")
        rows.append(Row(client_id, before, row["version"], process.get("pid"), port, proven, survives))
    return sorted(rows, key=lambda row: row.client)


def command_line(fleet: Fleet) -> str:
    """What to type to ask this fleet's release API; the operator's token is in a file that only its owner reads."""
    token = fleet.root / "operator.token"
    token.touch(mode=0o600)
    token.write_text(fleet.operator_token)
    hoist = Path(sys.executable).with_name("hoist")
    settings = f"HOIST_API_URL={fleet.api_url} HOIST_API_TOKEN_FILE={shlex.quote(str(token))}"
    return f"{settings} {shlex.quote(str(hoist))} status {application.NAME}"


def table(rows: list[Row]) -> str:
    """The rows as text."""
    head = ("client", "from", "to", "pid", "port", "version proven", "survives agent stop")
    return lay_out(
        head,
        [
            (r.client, r.before, r.after, str(r.pid or "–"), r.port, _yes(r.proven), _yes(r.survives))
            for r in rows
        ],
    )


def lay_out(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns, as wide as what is in them."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([text[0], "  ".join("─" * width for width in widths), *text[1:]])


def exit_status(
    upgraded: dict[str, Any],
    served: dict[str, str | None],
    say: Callable[[str], None],
    wanted: str = application.TO,
) -> int:
    """0 where the deploy task completed and every application itself `served` the `wanted` version (None: no answer)."""
    wrong = {client_id: version for client_id, version in served.items() if version != wanted}
    if not served or upgraded["status"] != "completed":
        say(f"not upgraded: the deploy task ended {upgraded['status']}")
        return 1
    say(f"not upgraded: {wrong}" if wrong else f"every application says it is {wanted}")
    return 1 if wrong else 0


def _reported(fleet: Fleet, project_id: str, patience_s: float = 30) -> dict[str, Any]:
    deadline = time.monotonic() + patience_s
    while True:
        found: dict[str, Any] = fleet.api.get(f"/projects/{project_id}/processes")
        fresh = [c for c in found["clients"] if c["processes"] and c["version"] == application.TO]
        if len(fresh) == len(fleet.agents) or time.monotonic() > deadline:
            return found
        time.sleep(0.3)


def _why(result: dict[str, Any]) -> str:
    return f" ({result['error'].splitlines()[0]})" if result.get("error") else ""


def _yes(value: bool | None) -> str:
    return "?" if value is None else "yes" if value else "no"
