"""An agent with one monitor at the default interval (60 s): resident memory, and CPU over a few intervals.

The floor is a bare interpreter that has imported what the agent needs. `python -m benchmarks.agent_at_rest [--minutes 3]`
"""

import argparse
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil

from benchmarks.results import write_results

TOKEN = "benchmark-token-benchmark-token"
IMPORTS = "import starlette.applications, uvicorn, httpx, pydantic, time; print('ready', flush=True); time.sleep(60)"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _agent(state_dir: Path) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    port = _free_port()
    environ = {
        **os.environ,
        "HOIST_AGENT_PORT": str(port),
        "HOIST_AGENT_STATE_DIR": str(state_dir),
        "HOIST_AGENT_TOKEN": TOKEN,
        "HOIST_AGENT_CLIENT_ID": "at-rest",
    }
    process = subprocess.Popen([sys.executable, "-m", "agent"], env=environ, stderr=subprocess.DEVNULL)
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False
    ) as api:
        try:
            deadline = time.monotonic() + 20
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if api.get("/healthz").is_success:
                        break
                if time.monotonic() > deadline:
                    raise SystemExit("the agent did not start")
                time.sleep(0.1)
            yield process, api
        finally:
            process.terminate()
            process.wait(15)


def _imports_mb() -> float:
    with subprocess.Popen([sys.executable, "-c", IMPORTS], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        resident = psutil.Process(process.pid).memory_info().rss / 2**20
        process.kill()
    return resident


def _put_monitor(api: httpx.Client) -> None:
    rules = [
        {"type": "name", "pattern": "systemd", "name": "init"},
        {"type": "cmdline", "pattern": "-m agent", "name": "agent"},
        {"type": "port", "pattern": "22", "name": "ssh"},
    ]
    api.put(
        "/v1/monitors/at-rest",
        json={"version": "1.0", "release_id": "benchmark", "process_config": {"rules": rules}},
    ).raise_for_status()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3, help="how long to watch (default 3)")
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder, _agent(Path(folder)) as (process, api):
        _put_monitor(api)
        time.sleep(5)
        watched = psutil.Process(process.pid)
        before, begun = sum(watched.cpu_times()[:4]), time.monotonic()
        print(f"watching the agent for {minutes:g} minutes", flush=True)
        time.sleep(minutes * 60)
        cpu = sum(watched.cpu_times()[:4]) - before
        core_percent = 100 * cpu / (time.monotonic() - begun)
        resident = watched.memory_info().rss / 2**20
    floor = _imports_mb()
    write_results(
        "agent_at_rest",
        {
            "processes_on_host": len(psutil.pids()),
            "resident_mb": round(resident, 1),
            "imports_alone_mb": round(floor, 1),
            "ratio_to_imports": round(resident / floor, 2),
            "core_percent": round(core_percent, 3),
            "targets": {"resident_mb": 55, "core_percent": 0.2},
        },
    )


if __name__ == "__main__":
    main()
