"""One upgrade flow over simulated clients, against the same HTTP calls in plain asyncio. `python -m benchmarks.rollout [1000]`"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CLIENTS = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
PARALLEL = 50
TARGET_CLIENTS_PER_S = 100


@contextmanager
def simulated_agents() -> Iterator[dict[str, str]]:
    argv = [sys.executable, "-m", "benchmarks.rollout.serve", str(CLIENTS)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        ports = json.loads(process.stdout.readline())
        yield {client: f"http://127.0.0.1:{port}/{client}" for client, port in ports.items()}
    finally:
        process.kill()
        process.wait()


async def measure_floor(urls: dict[str, str]) -> float:
    """Seconds for the same calls, with nothing written down."""
    from agent.client import AgentApi, agent_http_client
    from agent.wire.executions import ExecuteRequest
    from agent.wire.monitors import PutMonitor
    from agent.wire.processes import CollectRequest, ProcessConfig, Rule
    from agent.wire.releases import CheckRequest, VersionProbe

    rule, probe = Rule(type="name", pattern="app", name="main"), VersionProbe(type="command", command="app")
    slots = asyncio.Semaphore(PARALLEL)

    async def one(client: str, url: str) -> None:
        api = AgentApi(http, url, "none")
        async with slots:
            await api.info()
            request = ExecuteRequest(
                execution_id=f"floor.{client}",
                release_id="floor",
                project_id="floor",
                target_id=client,
                operation="update",
                version="1.5",
                script="true",
                work_dir="/srv/shop",
            )
            await api.execute(request)
        await api.collect(CollectRequest(project_id="floor", rules=(rule,)))
        await api.check(CheckRequest(project_id="floor", work_dir="/srv/shop", version_probe=probe))
        monitor = PutMonitor(version="1.5", release_id="floor", process_config=ProcessConfig(rules=(rule,)))
        await api.put_monitor("floor", monitor)

    began = time.monotonic()
    async with agent_http_client() as http:
        await asyncio.gather(*(one(client, url) for client, url in urls.items()))
    return time.monotonic() - began


def plan(urls: dict[str, str]) -> str:
    """A database with the fleet in it, and a deploy task for all of it."""
    from agent.wire.processes import ProcessConfig, Rule
    from agent.wire.releases import VersionProbe
    from db.documents.deploy_request import DeployTaskRequest
    from db.documents.evidence import EvidenceConfig
    from db.models import Client, Environment, Installation, Project, Target, Version, utc_now
    from db.secrets import load_secret_key
    from db.session import open_database
    from tasks.planning import create_deploy_task

    database, now = open_database(), utc_now()
    token = load_secret_key().encrypt("token-of-the-simulated-agents")
    with database.write() as session:
        project = Project(name="shop", type="script")
        session.add(project)
        session.flush()
        environment = Environment(project_id=project.id, name="prod")
        evidence = EvidenceConfig(version_probe=VersionProbe(type="command", command="app --version"))
        rules = ProcessConfig(rules=(Rule(type="name", pattern="app", name="main"),))
        session.add(environment)
        for name in ("1.4", "1.5"):
            version = Version(project_id=project.id, version=name, status="active", work_dir="/srv/shop")
            version.install_script = version.update_script = "true"
            version.process_config, version.evidence, version.env = rules, evidence, {}
            session.add(version)
        session.flush()
        places = {"project_id": project.id, "environment_id": environment.id}
        for client, url in urls.items():
            session.add(Client(client_id=client, url=url, token_encrypted=token, report_token_sha256=client))
        session.flush()
        for client in urls:
            target = Target(**places, client_id=client, name=client)
            session.add(target)
            session.flush()
            seen = {"version": "1.4", "status": "installed", "installed_at": now, "last_updated_at": now}
            session.add(Installation(**places, client_id=client, target_id=target.id, **seen))
        session.flush()
        strategy = {"waves": ["100%"], "max_parallel": PARALLEL, "stable_for_s": 0}
        asked = {
            "project_id": project.id,
            "version": "1.5",
            "auto_select_clients": True,
            "strategy": strategy,
        }
        request = DeployTaskRequest.model_validate(asked)
        deploy_task_id = create_deploy_task(session, request, now=now, who="benchmark").id
    database.close()
    return deploy_task_id


def main() -> None:
    from benchmarks.rollout.serve import allow_many_files
    from deployments.demo.prefect_server import PrefectServer

    allow_many_files()
    with tempfile.TemporaryDirectory(prefix="hoist-bench-") as folder, simulated_agents() as urls:
        root = Path(folder)
        os.environ |= {
            "HOME": folder,
            "PREFECT_HOME": str(root / "prefect-client"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "HOIST_DATABASE_URL": f"sqlite:///{root / 'hoist.db'}",
            "HOIST_SECRET_KEY_FILE": str(root / "secret.key"),
        }
        server = PrefectServer(root).start()
        os.environ["PREFECT_API_URL"] = server.url
        try:
            server.wait_until_up()
            measure(urls)
        finally:
            server.stop()


def measure(urls: dict[str, str]) -> None:
    from benchmarks.results import write_results
    from flows.upgrade import upgrade

    deploy_task_id = plan(urls)
    floor_s = asyncio.run(measure_floor(urls))
    began = time.monotonic()
    state = asyncio.run(upgrade(deploy_task_id=deploy_task_id, return_state=True))  # type: ignore[call-overload]
    flow_s = time.monotonic() - began
    assert state.is_completed(), state
    settings = {"clients": CLIENTS, "max_parallel": PARALLEL}
    write_results("rollout", {**settings, **compare(flow_s, floor_s)})


def compare(flow_s: float, floor_s: float) -> dict[str, Any]:
    """The rates of both, their ratio, and the target."""
    from benchmarks.results import at_least

    rate, floor = round(CLIENTS / flow_s, 1), round(CLIENTS / floor_s, 1)
    return {
        "upgrade_flow_s": round(flow_s, 2),
        "upgrade_flow_clients_per_s": rate,
        "plain_asyncio_clients_per_s": floor,
        "times_the_floor": round(flow_s / floor_s, 2),
        "targets_met": {"clients_per_s": at_least(rate, TARGET_CLIENTS_PER_S, "clients/s", floor=floor)},
    }


if __name__ == "__main__":
    main()
