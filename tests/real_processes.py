"""Real processes for tests: started in a session of their own, killed with all their children at the end."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PATIENCE_S = 60.0

SERVER = """
import os, socket, sys
family = socket.AF_INET6 if sys.argv[1] == "6" else socket.AF_INET
server = socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family)
workers = int(sys.argv[2]) if len(sys.argv) > 2 else 0
for _ in range(workers):
    if os.fork() == 0:
        break
else:
    print(server.getsockname()[1], flush=True)
import time
time.sleep(3600)
"""


def wait_until(read: Callable[[], Any]) -> Any:
    """Poll until `read` answers something true; fail after a minute."""
    deadline = time.monotonic() + PATIENCE_S
    while not (value := read()):
        assert time.monotonic() < deadline, "waited a minute in vain"
        time.sleep(0.02)
    return value


class Processes:
    """Starts processes and ends them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[subprocess.Popen[str]] = []

    def start(self, arguments: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        """Start a command in a session of its own."""
        process = subprocess.Popen(
            arguments, start_new_session=True, text=True, stdin=subprocess.DEVNULL, **options
        )
        self._started.append(process)
        return process

    def named(self, name: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start a sleeping process whose executable has this name, and wait until it runs."""
        executable = self._folder / name
        if not executable.exists():
            shutil.copy2("/bin/sleep", executable)
        process = self.start([str(executable), *(arguments or ("3600",))], **options)
        wait_until(lambda: os.readlink(f"/proc/{process.pid}/exe") == str(executable))
        wait_until(lambda: ") S " in Path(f"/proc/{process.pid}/stat").read_text())
        return process

    def python(self, code: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start Python code."""
        return self.start([sys.executable, "-c", code, *arguments], **options)

    def server(self, family: str = "4", workers: int = 0) -> tuple[subprocess.Popen[str], int]:
        """Start a listening process, with forked workers; answers it and its port."""
        process = self.python(SERVER, family, str(workers), stdout=subprocess.PIPE)
        assert process.stdout is not None
        return process, int(process.stdout.readline())

    def end(self) -> None:
        """Kill everything that was started, and reap it."""
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE_S)
            if process.stdout:
                process.stdout.close()
