"""Ours: real agents on loopback, asked as the flow `upgrade` asks them: each execution journalled, detached, waited for."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx

from agent.client import AgentApi, agent_http_client
from agent.wire.executions import ExecuteRequest, ExecutionState
from benchmarks.fanout.peers import SCRIPT

TOKEN = "benchmark-token-benchmark-token"
FENCE = 1


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def running_agents(count: int, folder: Path) -> AsyncIterator[list[str]]:
    """Agents as processes of their own; yields their URLs, stops them at the end."""
    urls, processes = [], []
    for number in range(count):
        port = _free_port()
        environ = {
            **os.environ,
            "HOIST_AGENT_PORT": str(port),
            "HOIST_AGENT_STATE_DIR": str(folder / f"agent-{number}"),
            "HOIST_AGENT_TOKEN": TOKEN,
            "HOIST_AGENT_CLIENT_ID": f"agent-{number}",
        }
        processes.append(
            subprocess.Popen([sys.executable, "-m", "agent"], env=environ, stderr=subprocess.DEVNULL)
        )
        urls.append(f"http://127.0.0.1:{port}")
    try:
        async with httpx.AsyncClient(trust_env=False) as http:
            for url in urls:
                await _wait_for(http, url)
        yield urls
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(15)


async def _wait_for(http: httpx.AsyncClient, url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if (await http.get(f"{url}/healthz")).is_success:
                return
        await asyncio.sleep(0.1)
    raise SystemExit(f"the agent at {url} did not start")


async def through_agents(hosts: int, parallel: int, urls: list[str], tag: str, work_dir: Path) -> float:
    """`hosts` executions, one project each, spread over the agents. Returns seconds.

    As in tasks/executing.py: who answers there is asked first, once per host; commands carry client_id and fence.
    """
    slots = asyncio.Semaphore(parallel)
    async with agent_http_client(parallel) as http:

        async def run(number: int) -> None:
            which, execution_id = number % len(urls), f"{tag}.{number}"
            agent = AgentApi(http, urls[which], TOKEN, client_id=f"agent-{which}", fence=FENCE)
            async with slots:
                assert (await agent.info()).client_id == f"agent-{which}"
                request = ExecuteRequest(
                    execution_id=execution_id,
                    release_id=tag,
                    project_id=f"project-{number}",
                    target_id=f"target-{number}",
                    operation="update",
                    version="1.0",
                    script=SCRIPT,
                    work_dir=str(work_dir),
                    previous_version="0.9",
                    env={},
                    timeout_s=900,
                    interpreter="/bin/bash",
                    detach_process=True,
                    detach_method="setsid",
                )
                execution = await agent.execute(request)
                while not execution.state.ended:
                    execution = await agent.execution(execution_id, wait_s=30)
                assert execution.state is ExecutionState.SUCCEEDED, execution.error

        begun = time.perf_counter()
        await asyncio.gather(*(run(number) for number in range(hosts)))
        return time.perf_counter() - begun
