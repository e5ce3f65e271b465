"""What the fleet's processes get as their environment, and where things are in its directory."""

import os
import random
import socket
import sys
from pathlib import Path

from deployments.demo.errors import DemoError
from deployments.demo.processes import MARK

CODE = Path(__file__).resolve().parents[2]
"""The root of the source tree."""

_INHERITED = ("LANG", "LC_ALL", "TZ", "TMPDIR", "USER", "SHELL", "LD_LIBRARY_PATH")
_PACKAGE_INDEX = ("PIP_", "UV_", "SSL_CERT_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE")


_given: set[int] = set()


def free_port() -> int:
    """A port of loopback that nobody listens on, not given before, and below those that outgoing connections take.

    One that the kernel chooses (port 0) is of the latter kind: it may be taken before its process binds it.
    """
    first, last = _port_range()
    for _ in range(1000):
        port = random.SystemRandom().randint(first, last)
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise DemoError(f"cannot find a free port from {first} to {last}")


def _port_range() -> tuple[int, int]:
    try:
        lowest_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        lowest_ephemeral = 32_768
    return (10_240, lowest_ephemeral - 1) if lowest_ephemeral > 12_000 else (lowest_ephemeral, 65_535)


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


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
