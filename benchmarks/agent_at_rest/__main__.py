"""An agent that reports what three rules match, every 60 s (the default): resident memory, and CPU over a few intervals.

The agent is its wheel, as on a host. The reports go to a release API that takes them: without one nothing is collected, and rest would be death. The floor is a bare interpreter that has imported what the agent needs. `python -m benchmarks.agent_at_rest [--minutes 3]`
"""

import argparse
import contextlib
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.agent_at_rest.host import install_agent
from benchmarks.agent_at_rest.report_api import ReportApi, running_report_api
from benchmarks.results import at_most, write_results

TOKEN = "benchmark-token-benchmark-token"
IMPORTS = "import starlette.applications, uvicorn, httpx, pydantic, time; print('ready', flush=True); time.sleep(60)"
INTERVAL_S = 60
TARGET_MB, TARGET_CORE_PERCENT = 55, 0.2


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _agent(
    python: Path, state_dir: Path, report_to: str
) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    port = _free_port()
    environ = {
        **os.environ,
        "HOIST_AGENT_PORT": str(port),
        "HOIST_AGENT_STATE_DIR": str(state_dir),
        "HOIST_AGENT_TOKEN": TOKEN,
        "HOIST_AGENT_CLIENT_ID": "at-rest",
        "HOIST_AGENT_API_URL": report_to,
    }
    # From elsewhere: in the tree `-m agent` would be the tree's.
    process = subprocess.Popen([python, "-m", "agent"], env=environ, cwd="/", stderr=subprocess.DEVNULL)
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


def _imports_mb(python: Path) -> float:
    with subprocess.Popen([python, "-c", IMPORTS], cwd="/", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        resident: float = psutil.Process(process.pid).memory_info().rss / 2**20
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


def _watch(process: subprocess.Popen[bytes], reports: ReportApi, minutes: float) -> dict[str, Any]:
    _wait_for_first(reports)
    watched = psutil.Process(process.pid)
    before, had, begun = sum(watched.cpu_times()[:4]), reports.reports, time.monotonic()
    print(f"watching the agent for {minutes:g} minutes", flush=True)
    time.sleep(minutes * 60)
    cpu, seconds = sum(watched.cpu_times()[:4]) - before, time.monotonic() - begun
    delivered = reports.reports - had
    assert delivered >= int(seconds // INTERVAL_S), f"only {delivered} reports arrived in {seconds:.0f} s"
    return {
        "watched_s": round(seconds),
        "reports_delivered_meanwhile": delivered,
        "processes_on_host": len(psutil.pids()),
        "resident_mb": round(watched.memory_info().rss / 2**20, 1),
        "core_percent": round(100 * cpu / seconds, 3),
    }


def _wait_for_first(reports: ReportApi) -> None:
    deadline = time.monotonic() + 30
    while not reports.reports:
        if time.monotonic() > deadline:
            raise SystemExit("the agent reported nothing")
        time.sleep(0.1)
    time.sleep(5)  # what the start left to do is not rest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3, help="how long to watch (default 3)")
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder, running_report_api() as reports:
        python = install_agent(Path(folder))
        with _agent(python, Path(folder) / "state", reports.url) as (process, api):
            _put_monitor(api)
            figures = _watch(process, reports, minutes)
        imports_mb = round(_imports_mb(python), 1)
    write_results("agent_at_rest", {**figures, **compare(figures, imports_mb)})


def compare(figures: dict[str, Any], imports_mb: float) -> dict[str, Any]:
    """The ratio to what the imports alone need, and the targets."""
    resident, core = figures["resident_mb"], figures["core_percent"]
    return {
        "interval_s": INTERVAL_S,
        "imports_alone_mb": imports_mb,
        "ratio_to_imports": round(resident / imports_mb, 2),
        "targets_met": {
            "resident_memory": at_most(resident, TARGET_MB, "MB", floor=imports_mb),
            "share_of_a_core": at_most(core, TARGET_CORE_PERCENT, "%"),
        },
    }


if __name__ == "__main__":
    main()
