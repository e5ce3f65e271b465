"""`make demo`: three agents, a Prefect server, the release API, a worker, and a real upgrade, on loopback.

It stays up until Ctrl-C and then stops everything, the applications included. With --exit it ends by itself: 0 only when
every client's application itself says that it is the new version.
"""

import argparse
import fcntl
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from deployments.demo import application, upgrade
from deployments.demo.environment import free_port
from deployments.demo.errors import DemoError
from deployments.demo.fleet import Fleet, default_root
from deployments.demo.leftovers import CACHE, LOCK, clean_up, stop_applications

CLIENTS = ("web-1", "web-2", "web-3")
_started = time.monotonic()


def main() -> int:
    """Run the demo; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deployments.demo", description=__doc__)
    parser.add_argument("--exit", action="store_true", help="end when the upgrade is proven, 0 only if it is")
    parser.add_argument(
        "--dir", type=Path, default=default_root(), help="where its state is (default: ./.demo)"
    )
    arguments = parser.parse_args()
    root: Path = arguments.dir.resolve()
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, _interrupt)
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (root / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another demo runs in {root}: stop it first")
            return 1
        return run(root, arguments.exit)


def run(root: Path, leave: bool) -> int:
    """Clean up, start, upgrade, show; stop everything at the end, however it comes."""
    if count := clean_up(root):
        say(f"ended {count} processes that an earlier demo left")
    say("starting Prefect's server, the release API, a worker and three agents")
    fleet = Fleet(root, CLIENTS, cache=root / CACHE)
    try:
        status = tell(fleet)
        if not leave:
            say("press Ctrl-C to stop everything")
            threading.Event().wait()
        return status
    except DemoError as error:
        say(f"the demo failed: {error}")
        say(f"the logs are in {root / 'logs'}")
        return 1
    except KeyboardInterrupt:
        return 130 if leave else 0
    finally:
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(sign, signal.SIG_IGN)
        say("stopping everything")
        fleet.stop()
        stop_applications(root)
        say("stopped")


def tell(fleet: Fleet) -> int:
    """The story; the exit status: 0 only where every application says itself that it is the new version."""
    fleet.start_servers()
    ports = {client_id: free_port() for client_id in fleet.agents}
    for client_id, agent in fleet.agents.items():
        application.prepare_host(agent.home, ports[client_id])
    fleet.start_agents()
    project_id = upgrade.register(fleet)
    say(f"the release API and {len(ports)} agents are up, {application.NAME} is registered")
    fleet.serve_deployments()
    say("the worker serves the deployments")
    installed = upgrade.install(fleet, project_id, say)
    if installed["status"] != "completed":
        raise DemoError(f"the installation ended {installed['status']}")
    upgraded = upgrade.upgrade(fleet, project_id, say)
    print(f"\n{upgrade.table(upgrade.read_back(fleet, project_id, ports))}\n", flush=True)
    print(f"deploy task   {upgraded['status']}: {upgraded['success_count']} of {upgraded['total_count']}")
    print(f"Prefect run   {upgraded['flow_run_url']}")
    print(f"release API   {fleet.api_url}/docs\n", flush=True)
    served = {client_id: application.served_version(port) for client_id, port in ports.items()}
    return upgrade.exit_status(upgraded, served, say)


def say(line: str) -> None:
    """Tell progress, with the seconds since the start."""
    print(f"[{time.monotonic() - _started:5.1f} s] {line}", file=sys.stderr, flush=True)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
