"""`hoist` as a process, for tests that watch it, interrupt it, or give it a terminal."""

import os
import pty
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 60


class HoistProcess:
    """One command, going on; `said` is its standard error, which is a terminal where `tty` is true."""

    def __init__(self, url, token, *arguments, tty=False):
        environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        environ |= {"PYTHONPATH": str(ROOT), "HOIST_API_URL": url, "HOIST_API_TOKEN": token}
        environ |= {"TERM": "xterm", "COLUMNS": "120", "PYTHONUNBUFFERED": "1"}
        self._master, slave = pty.openpty() if tty else os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "api.cli", *arguments],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=slave,
            text=True,
        )
        os.close(slave)
        self._said = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        try:
            while some := os.read(self._master, 65536):
                self._said += some
        except OSError:
            return  # a terminal whose other side is closed

    @property
    def said(self):
        return self._said.decode(errors="replace")

    def wait_for(self, text):
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.said:
            assert time.monotonic() < deadline, (text, self.said)
            assert self.process.poll() is None or text in self.said, self.said
            time.sleep(0.02)

    def end(self, timeout_s=PATIENCE_S):
        out = self.process.communicate(timeout=timeout_s)[0]
        self._thread.join(PATIENCE_S)
        return self.process.returncode, out

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self._thread.join(PATIENCE_S)
        os.close(self._master)
