"""The agent's oldest wire: which fields it knew, and what it answered (recorded)."""

import json
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parent / "unit" / "agent" / "wire" / "recorded"
LEASE = {"client_id", "fence"}
ROUTES = {
    ("GET", "/v1/info"): ("info", set()),
    ("POST", "/v1/commands/release.execute"): (
        "execution",
        LEASE
        | {
            "execution_id",
            "release_id",
            "project_id",
            "target_id",
            "operation",
            "version",
            "script",
            "work_dir",
        }
        | {
            "previous_version",
            "env",
            "timeout_s",
            "interpreter",
            "run_as",
            "detach_process",
            "detach_method",
        },
    ),
    ("GET", "/v1/executions/e1"): ("execution", {"wait_s"}),
    ("GET", "/v1/executions/e1/log"): ("log", {"offset"}),
    ("POST", "/v1/executions/e1/cancel"): ("execution", LEASE),
    ("POST", "/v1/commands/release.check"): ("check", {"project_id", "work_dir", "version_probe"}),
    ("POST", "/v1/commands/process.collect"): ("collected", {"project_id", "rules"}),
    ("POST", "/v1/commands/process.report"): ("reported", {"project_id", "rules", "version", "release_id"}),
    ("PUT", "/v1/monitors/shop"): ("monitor", LEASE | {"version", "release_id", "process_config"}),
    ("DELETE", "/v1/monitors/shop"): (None, LEASE),
}
"""By method and path: the recorded answer, and the fields that a request may have."""


def recorded(name: str) -> Any:
    return json.loads((RECORDED / f"{name}.json").read_text())
