"""What the fleet's processes get as their environment, and where things are in its directory."""

import os
import socket
import sys
from pathlib import Path

from deployments.demo.processes import MARK

CODE = Path(__file__).resolve().parents[2]
"""The root of the source tree."""

_INHERITED = ("LANG", "LC_ALL", "TZ", "TMPDIR", "USER", "SHELL", "LD_LIBRARY_PATH")
_PACKAGE_INDEX = ("PIP_", "UV_", "SSL_CERT_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE")


def free_port() -> int:
    """A port that the kernel says is free on loopback, now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def package_index_settings() -> dict[str, str]:
    """How this machine reaches its package index, as its owner set it up: pip's, uv's and the proxy's variables."""
    found = {
        name: value
        for name, value in os.environ.items()
        if name.upper().startswith(_PACKAGE_INDEX)
        and name.upper() not in ("UV_PROJECT_ENVIRONMENT", "UV_CACHE_DIR")
    }
    for variable, path in (("PIP_CONFIG_FILE", "pip/pip.conf"), ("UV_CONFIG_FILE", "uv/uv.toml")):
        file = Path.home() / ".config" / path
        if file.is_file():
            found.setdefault(variable, str(file))
    return found


def base_environment(root: Path, home: Path) -> dict[str, str]:
    """The part that every process has: this venv first on PATH, a HOME of its own, telemetry off."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    bin_dir = Path(sys.executable).parent
    home.mkdir(parents=True, exist_ok=True)
    return inherited | {
        MARK: str(root),
        "PATH": f"{bin_dir}:{os.environ.get('PATH', os.defpath)}",
        "HOME": str(home),
        "PYTHONPATH": str(CODE),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
