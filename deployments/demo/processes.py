"""The fleet's processes: started so that they die with their starter, and found again by whoever cleans up after a kill.

Every process carries HOIST_FLEET_ROOT in its environment, and so does what it starts (Prefect's flow runs have sessions
of their own, so neither a process group nor a session would find them). Scripts and applications get a clean
environment from the agent and are left alone: leftovers.stop_applications() is for them.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from deployments.demo.errors import DemoError

MARK = "HOIST_FLEET_ROOT"
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def start_ticks(pid: int) -> int | None:
    """When `pid` started, in clock ticks since boot; None when it is gone or a zombie (proc(5), stat)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def parent_of(pid: int) -> int | None:
    """The parent of `pid`; None when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except OSError:
        return None


def all_pids() -> list[int]:
    """Every process there is."""
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def marked_pids(root: Path) -> list[int]:
    """Every process of the fleet in `root`, its starter (which isn't marked) excepted."""
    mark = f"{MARK}={root}".encode()
    found = []
    for pid in all_pids():
        with contextlib.suppress(OSError):
            if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def kill_all(find: Callable[[], list[int]], sign: signal.Signals = signal.SIGKILL) -> None:
    """Signal what `find` finds until it finds nothing; itself excepted."""
    deadline = time.monotonic() + 30
    while pids := [pid for pid in find() if pid != os.getpid() and start_ticks(pid) is not None]:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sign)
        if time.monotonic() > deadline:
            raise DemoError(f"cannot end the processes {pids}: they outlive {sign.name}")
        time.sleep(0.05)


class Process:
    """One process of the fleet: its own session, its output in a file, dead when its starter is.

    Start it from the main thread: PR_SET_PDEATHSIG is about the thread that forked (prctl(2)).
    """

    def __init__(self, name: str, argv: Sequence[str], env: Mapping[str, str], cwd: Path, log: Path) -> None:
        self.name, self.argv, self.env, self.cwd, self.log = name, list(argv), dict(env), cwd, log
        self._popen: subprocess.Popen[bytes] | None = None
        self._asked_to_end = False

    def start(self) -> "Process":
        """Start it (again)."""
        self._asked_to_end = False
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self.argv,
                env=self.env,
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one C call, from the main thread
            )
        return self

    @property
    def pid(self) -> int:
        """Its pid."""
        if self._popen is None:
            raise DemoError(f"{self.name} was not started")
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it is there."""
        return self._popen is not None and self._popen.poll() is None

    def signal(self, sign: signal.Signals) -> None:
        """Send `sign`, if it is there to get it."""
        if self._popen is not None:
            self._popen.send_signal(sign)

    def signal_term(self) -> None:
        """Ask it, once, to end."""
        if not self._asked_to_end:
            self._asked_to_end = True
            self.signal(signal.SIGTERM)

    def stop(self, timeout_s: float = 10) -> None:
        """End it: SIGTERM, and SIGKILL after `timeout_s`."""
        if self._popen is None:
            return
        self.signal_term()
        try:
            self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it now, as a crash would."""
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()

    def tail(self, lines: int = 20) -> str:
        """The end of what it said."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""


T = TypeVar("T")


def wait_until(
    what: str, condition: Callable[[], T | None], process: Process | None = None, timeout_s: float = 60
) -> T:
    """Ask `condition` until it is truthy; fail when `process` ends or `timeout_s` is over, with the end of its log."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if process is not None and not process.running:
            raise DemoError(f"{process.name} ended while waiting for {what}:\n{process.tail()}")
        if time.monotonic() > deadline:
            raise DemoError(
                f"no {what} within {timeout_s:.0f} s" + (f":\n{process.tail()}" if process else "")
            )
        time.sleep(0.1)


def descendants(pid: int) -> Iterator[int]:
    """Everything below `pid`, at this moment."""
    parents = {other: parent_of(other) for other in all_pids()}
    wanted = {pid}
    found = True
    while found:
        found = False
        for child, parent in parents.items():
            if parent in wanted and child not in wanted:
                wanted.add(child)
                found = True
                yield child
