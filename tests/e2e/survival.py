"""Does an application outlive its agent? Found out by killing the agent and looking, not by asking it."""

import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from deployments.demo.processes import start_ticks

KILLS_ALL = ("control-group", "mixed")
SETTLED_S = 1.0
"""What a hang-up or a broken pipe does is done by then."""


def outlives_agent(agent_pid: int, pid: int, kill_agent: Callable[[], None]) -> bool | None:
    """Whether `pid` lives on as the same process once `kill_agent` has killed its agent.

    Where both are in one systemd service, a kill of the agent alone shows nothing: then its KillMode says what stopping
    it does, None where systemd doesn't tell.
    """
    ticks, shared = start_ticks(pid), _service(agent_pid)
    assert ticks is not None, f"the application ({pid}) isn't there"
    shared = shared if shared == _service(pid) else None
    mode = _kill_mode(shared) if shared else ""
    kill_agent()
    assert start_ticks(agent_pid) is None
    time.sleep(SETTLED_S)
    lives = start_ticks(pid) == ticks
    if mode is None:
        return None
    return lives and mode not in KILLS_ALL


def _service(pid: int) -> str | None:
    found = re.findall(r"([^/\n]+\.service)", Path(f"/proc/{pid}/cgroup").read_text())
    return found[-1] if found else None


def _kill_mode(unit: str) -> str | None:
    argv = ["systemctl", "show", "--property=KillMode", "--value", "--", unit]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=10)
    except OSError:
        return None
    return done.stdout.strip() or None
