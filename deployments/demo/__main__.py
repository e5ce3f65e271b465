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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

from deployments.demo import application, containers, upgrade
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
    engine = containers.find_engine(say)
    try:
        status = tell(fleet, engine)
        if not leave:
            fleet.serve_everything()
            say("the worker serves the flows that watch the fleet, too: heartbeat, watch, retention")
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
        if engine is not None:
            containers.leave_engine(engine, say)
        say(f"stopped; what it wrote is in {root}, the next demo starts anew there")


def tell(fleet: Fleet, engine: containers.Engine | None) -> int:
    """The story; the exit status: 0 only where every application says itself that it is the new version."""
    fleet.start_servers()
    ports = {client_id: free_port() for client_id in fleet.agents}
    for client_id, agent in fleet.agents.items():
        application.prepare_host(agent.home, ports[client_id])
        if engine is not None:
            agent.environ["HOIST_AGENT_DOCKER_HOST"] = engine.host
    fleet.start_agents()
    project_id = upgrade.register(fleet)
    container_project = containers.register(fleet, engine) if engine is not None else None
    say(f"the release API and {len(ports)} agents are up, {application.NAME} is registered")
    fleet.serve_upgrades()
    say("the worker serves upgrades")
    beside = ThreadPoolExecutor(1)
    try:
        boxes = beside.submit(deploy_containers, fleet, container_project) if container_project else None
        status = upgrade_application(fleet, project_id, ports)
        if engine is not None and boxes is not None and container_project is not None:
            status = max(status, show_containers(fleet, engine, boxes.result(), container_project))
    finally:
        beside.shutdown(wait=False)  # what it waits for ends with the fleet
    print(f"release API   {fleet.api_url}/docs")
    print(f"command line  {upgrade.command_line(fleet)}\n", flush=True)
    return status


def upgrade_application(fleet: Fleet, project_id: str, ports: dict[str, int]) -> int:
    """Install it, upgrade it, show what came of it; 0 where every application itself says so."""
    installed = upgrade.install(fleet, project_id, say)
    if installed["status"] != "completed":
        raise DemoError(f"the installation ended {installed['status']}")
    upgraded = upgrade.upgrade(fleet, project_id, say)
    print(f"\n{upgrade.table(upgrade.read_back(fleet, project_id, ports))}\n", flush=True)
    print(f"deploy task   {upgraded['status']}: {upgraded['success_count']} of {upgraded['total_count']}")
    print(f"Prefect run   {upgraded['flow_run_url']}", flush=True)
    served = {client_id: application.served_version(port) for client_id, port in ports.items()}
    return upgrade.exit_status(upgraded, served, say)


def deploy_containers(fleet: Fleet, project_id: str) -> dict[str, Any]:
    """Install the container project and upgrade it; the upgrade's deploy task."""
    installed = containers.install(fleet, project_id, say)
    if installed["status"] != "completed":
        raise DemoError(f"the installation of containers ended {installed['status']}")
    return containers.upgrade(fleet, project_id, say)


def show_containers(
    fleet: Fleet, engine: containers.Engine, upgraded: dict[str, Any], project_id: str
) -> int:
    """What came of the container project; 0 where every container itself says so."""
    head = ("client", "container", "version", "image", "state", "memory MB")
    rows = [
        (r.client, r.container, r.version, r.image, r.state, r.memory_mb)
        for r in containers.read_back(fleet, upgraded, project_id)
    ]
    print(f"\n{upgrade.lay_out(head, rows)}\n", flush=True)
    print(f"deploy task   {upgraded['status']}: {upgraded['success_count']} of {upgraded['total_count']}")
    print(f"Prefect run   {upgraded['flow_run_url']}", flush=True)
    return upgrade.exit_status(upgraded, containers.served_versions(fleet, engine), say, wanted=containers.TO)


def say(line: str) -> None:
    """Tell progress, with the seconds since the start."""
    print(f"[{time.monotonic() - _started:5.1f} s] {line}", file=sys.stderr, flush=True)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
