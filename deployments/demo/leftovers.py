"""Cleans up after a demo that was killed, and ends the applications that agents started: they outlive everything else."""

import contextlib
import os
import shutil
import signal
from pathlib import Path

from deployments.demo.errors import DemoError
from deployments.demo.processes import MARK, all_pids, kill_all, marked_pids, start_ticks, wait_until

APPLICATION_MARK = "HOIST_DEMO_APPLICATION"
"""In a version's `env`: what its scripts start carries it on, so that a later demo knows them from all else."""

LOCK = "lock"
"""Held by the demo that runs there."""

CACHE = "cache"
"""The package cache: the one thing below the root that the next demo uses again."""


def application_pids(root: Path) -> list[int]:
    """Every process that a script of this fleet started: told by its environment, not by a number that is reused."""
    mark = f"{APPLICATION_MARK}={root}".encode()
    found = []
    for pid in all_pids():
        with contextlib.suppress(OSError):
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if mark in variables and not any(v.startswith(f"{MARK}=".encode()) for v in variables):
                found.append(pid)
    return found


def stop_applications(root: Path, patience_s: float = 5) -> None:
    """End the applications: SIGTERM, and SIGKILL for what is still there after `patience_s`."""
    for pid in application_pids(root):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    with contextlib.suppress(DemoError):
        wait_until("end of the applications", lambda: not application_pids(root), timeout_s=patience_s)
    kill_all(lambda: application_pids(root))


def clean_up(root: Path) -> int:
    """End what a killed demo left in `root`, and remove its state but not its cache; how many processes it was."""
    left = [pid for pid in (*marked_pids(root), *application_pids(root)) if start_ticks(pid) is not None]
    kill_all(lambda: marked_pids(root))
    stop_applications(root)
    for path in root.iterdir() if root.is_dir() else ():
        if path.name not in (CACHE, LOCK):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return len(left)
