"""`python -m api` as a process of its own, and what the history calls a report."""

import hashlib
import os
import subprocess
import sys
import time

import httpx

from db.ids import as_id

PATIENCE_S = 60


def start_api(database_url, port, home):
    """The process, once it is ready."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "HOIST_DATABASE_URL": database_url,
        "HOIST_API_PORT": str(port),
        "HOIST_API_OPERATOR_TOKEN": "operator-token-of-the-tests",
        "DO_NOT_TRACK": "1",
    }
    process = subprocess.Popen([sys.executable, "-m", "api"], env=environ, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5, trust_env=False).raise_for_status()
            return process
        except httpx.HTTPError:
            assert process.poll() is None, "the API ended by itself"
            assert time.monotonic() < deadline, "the API was not ready in time"
            time.sleep(0.05)


def report_key_of(report_id):
    """The report's key in the history."""
    return as_id(hashlib.blake2b(report_id.encode(), digest_size=16).digest())
