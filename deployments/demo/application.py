"""The application that the demo upgrades: Datasette, in two of its real releases, by the shipped deploy script.

Three hosts share one machine here, so nothing in the version may name a host's own place. What a real fleet would not
need: `~/` in APP_DIR (each agent has a HOME of its own), the port in each host's own host.env, and /proc/self/cwd, which
is the agent's own HOME when the agent itself opens the pid file.
"""

import json
import shlex
import urllib.request
from pathlib import Path
from typing import Any

from deployments.demo.environment import CODE, package_index_settings
from deployments.demo.leftovers import APPLICATION_MARK, CACHE

NAME = "datasette"
FROM, TO = "0.64.8", "0.65.5"
RULE = "datasette"
_SCRIPT = CODE / "docs" / "templates" / "deploy-script.sh"
_COMMAND = 'exec bin/datasette serve --memory --host 127.0.0.1 --port "$APP_PORT"'
_PROBE = """. "$HOME/datasette/host.env" && exec "$HOME/datasette/current/bin/python" -c '
import json, sys, urllib.request
with urllib.request.urlopen("http://127.0.0.1:" + sys.argv[1] + "/-/versions.json", timeout=5) as answer:
    print(json.load(answer)["datasette"]["version"])
' "$APP_PORT"
"""


def prepare_host(home: Path, port: int) -> None:
    """Write what only this host knows: its port, and how it reaches the package index."""
    settings = package_index_settings() | {"APP_PORT": str(port)}
    directory = home / NAME
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "host.env"
    file.touch(mode=0o600)
    file.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted(settings.items())))


def version_body(root: Path, project_id: str, version: str) -> dict[str, Any]:
    """POST /release/versions: the template as it is, told by variables what to install and run."""
    script = _SCRIPT.read_text()
    return {
        "project_id": project_id,
        "version": version,
        "description": f"Datasette {version}",
        "status": "active",
        "work_dir": str(root / "work"),
        "install_script": script,
        "update_script": script,
        "rollback_script": script,
        "uninstall_script": script,
        "timeout_s": 300,
        "detach_method": "setsid",
        "env": {
            "APP_NAME": NAME,
            "APP_DIR": f"~/{NAME}",
            "APP_PACKAGES": f"datasette=={version} setuptools<81",
            "APP_COMMAND": _COMMAND,
            "UV_CACHE_DIR": str(root / CACHE / "uv"),
            "PIP_CACHE_DIR": str(root / CACHE / "pip"),
            APPLICATION_MARK: str(root),
        },
        "process_config": {
            "rules": [{"type": "pidfile", "pattern": f"/proc/self/cwd/{NAME}/{NAME}.pid", "name": RULE}],
            "collect_interval": 15,
        },
        "evidence": {"version_probe": {"type": "command", "command": _PROBE, "timeout_s": 10}},
    }


def served_version(port: int) -> str | None:
    """What the application on `port` says of itself, asked by the demo and not by Hoist; None when it doesn't answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/versions.json", timeout=10) as answer:
            return str(json.load(answer)["datasette"]["version"])
    except (OSError, ValueError, KeyError):
        return None
