"""Simulated agents: many clients in one server, each under its own path, speaking agent/wire. No script really runs.

Tests use them too: a client's behaviour says what its script and its application do.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agent.executions.endpoints import CancelRequest
from agent.wire.containers import ContainerDeployRequest
from agent.wire.executions import ExecuteRequest, Execution, ExecutionState
from agent.wire.info import FEATURES, AgentInfo
from agent.wire.monitors import Monitor, PutMonitor
from agent.wire.problems import LOWER_FENCE
from agent.wire.processes import Collected, CollectRequest, ProcessInfo, Reported, ReportRequest
from agent.wire.releases import CheckAnswer, CheckRequest, CheckResult
from benchmarks.rollout.containers import SimulatedEngine

BOOT_ID = "5f3c2d52-0a9b-4b57-9a51-7d7f6c2d1e10"
Command = ExecuteRequest | ContainerDeployRequest


@dataclass
class Behaviour:
    """What a simulated client's script and application do. `lasts_s`: how long its script takes."""

    exit_code: int = 0
    lasts_s: float = 0.0
    restarts: bool = True
    answers_old_version: bool = False
    dies: bool = False
    down: bool = False
    full_disk: bool = False
    output: str = ""
    nuls: bool = False
    lying_exit_code: int | None = None
    other_execution: bool = False
    never_started: bool = False


@dataclass
class SimulatedClient:
    """One client's state."""

    client_id: str
    version: str = "1.0"
    behaviour: Behaviour = field(default_factory=Behaviour)
    pid: int = 1000
    started: datetime = field(default_factory=lambda: datetime.now(UTC) - timedelta(days=1))
    executions: dict[str, Execution] = field(default_factory=dict)
    requests: dict[str, ExecuteRequest] = field(default_factory=dict)
    ended: dict[str, asyncio.Event] = field(default_factory=dict)
    scripts_run: list[str] = field(default_factory=list)
    monitors: dict[str, Any] = field(default_factory=dict)
    fence: int = 0
    collections: int = 0
    turned_away: int = 0
    reports: list[ReportRequest] = field(default_factory=list)
    wanted: str = "1.0"
    cpu_percent: float | None = None
    memory_mb: float = 20.0
    engine: SimulatedEngine = field(init=False)

    def __post_init__(self) -> None:
        self.engine = SimulatedEngine(self.client_id)


class SimulatedFleet:
    """All of them, as one Starlette application. `before_deployment`: called for each `container.deploy`, before it is obeyed."""

    def __init__(self, client_ids: list[str], version: str = "1.0") -> None:
        self.before_deployment: Callable[[], None] = lambda: None
        self.clients = {client_id: SimulatedClient(client_id, version) for client_id in client_ids}
        self._running: set[asyncio.Task[None]] = set()
        self._info = {client_id: self._info_of(client_id) for client_id in client_ids}
        self.app = Starlette(
            routes=[
                Route("/{client}/v1/info", self.info),
                Route("/{client}/v1/commands/release.execute", self.execute, methods=["POST"]),
                Route("/{client}/v1/commands/release.check", self.check, methods=["POST"]),
                Route("/{client}/v1/commands/process.collect", self.collect, methods=["POST"]),
                Route("/{client}/v1/commands/process.report", self.report, methods=["POST"]),
                Route("/{client}/v1/commands/container.deploy", self.deploy_container, methods=["POST"]),
                Route("/{client}/v1/commands/container.list", self.list_containers, methods=["POST"]),
                Route("/{client}/v1/commands/container.collect", self.collect_containers, methods=["POST"]),
                Route("/{client}/v1/executions/{execution}", self.execution),
                Route("/{client}/v1/executions/{execution}/cancel", self.cancel, methods=["POST"]),
                Route("/{client}/v1/monitors", self.list_monitors),
                Route("/{client}/v1/monitors/{project}", self.monitor, methods=["PUT", "DELETE"]),
            ]
        )

    @staticmethod
    def _info_of(client_id: str) -> str:
        return AgentInfo(
            client_id=client_id,
            agent_version="0.1.0",
            features=FEATURES,
            hostname=client_id,
            boot_id=BOOT_ID,
            started_at=datetime.now(UTC),
            detach_methods=("nohup", "setsid"),
        ).model_dump_json()

    def _of(self, request: Request) -> SimulatedClient | None:
        client = self.clients[request.path_params["client"]]
        client.turned_away += client.behaviour.down
        return None if client.behaviour.down else client

    async def info(self, request: Request) -> Response:
        client = self._of(request)
        return _away() if client is None else _json(self._info[client.client_id])

    async def execute(self, request: Request) -> Response:
        client = self._of(request)
        if client is None:
            return _away()
        asked = ExecuteRequest.model_validate_json(await request.body())
        return self._accept(client, asked)

    async def deploy_container(self, request: Request) -> Response:
        client = self._of(request)
        if client is None:
            return _away()
        asked = ContainerDeployRequest.model_validate_json(await request.body())
        self.before_deployment()
        return self._accept(client, asked)

    def _accept(self, client: SimulatedClient, asked: Command) -> Response:
        if (refusal := _refused(client, asked.fence)) is not None:
            return refusal
        known = client.executions.get(asked.execution_id)
        if known is not None:
            return _json(known.model_dump_json())
        if client.behaviour.full_disk:
            return _problem(507, "cannot start: the disk is full")
        client.scripts_run.append(asked.execution_id)
        if isinstance(asked, ContainerDeployRequest):
            client.engine.deployments.append(asked)
        else:
            client.requests[asked.execution_id] = asked
        client.ended[asked.execution_id] = asyncio.Event()
        client.executions[asked.execution_id] = Execution(
            execution_id=asked.execution_id,
            project_id=asked.project_id,
            state=ExecutionState.RUNNING,
            pid=4711,
            started_at=datetime.now(UTC),
            detach_method="setsid",
        )
        if client.behaviour.lasts_s:
            task = asyncio.create_task(self._finish_later(client, asked))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        else:
            self._finish(client, asked)
        return _json(client.executions[asked.execution_id].model_dump_json(), 202)

    async def _finish_later(self, client: SimulatedClient, asked: Command) -> None:
        await asyncio.sleep(client.behaviour.lasts_s)
        self._finish(client, asked)

    def _finish(self, client: SimulatedClient, asked: Command) -> None:
        execution = client.executions[asked.execution_id]
        if execution.state.ended:
            return
        behaviour, now = client.behaviour, datetime.now(UTC)
        if behaviour.never_started:
            self._end(client, execution, ExecutionState.FAILED)
            return
        well = behaviour.exit_code == 0
        if well and behaviour.restarts:
            client.pid, client.started = client.pid + 1, now
        if well:
            client.wanted = asked.version
            client.version = client.version if behaviour.answers_old_version else asked.version
        if well and isinstance(asked, ContainerDeployRequest):
            container = client.engine.put_in_place(asked)
            execution = execution.model_copy(update={"container": container})
        self._end(client, execution, ExecutionState.SUCCEEDED if well else ExecutionState.FAILED)

    def _end(self, client: SimulatedClient, execution: Execution, state: ExecutionState) -> None:
        behaviour = client.behaviour
        nothing = state is ExecutionState.CANCELLED or behaviour.never_started
        code = None if nothing else behaviour.lying_exit_code or behaviour.exit_code
        output = behaviour.output + ("\0nul" if behaviour.nuls else "")
        update = {
            "state": state,
            "exit_code": code,
            "finished_at": datetime.now(UTC),
            "output_tail": output,
            "output_bytes": len(output),
        }
        client.executions[execution.execution_id] = execution.model_copy(update=update)
        client.ended[execution.execution_id].set()

    async def execution(self, request: Request) -> Response:
        client = self._of(request)
        if client is None:
            return _away()
        execution_id = request.path_params["execution"]
        if execution_id not in client.executions:
            return _problem(404, "no such execution")
        wait_s = float(request.query_params.get("wait_s", 0))
        if wait_s:
            with suppress(TimeoutError):
                await asyncio.wait_for(client.ended[execution_id].wait(), wait_s)
        known = client.executions[execution_id]
        if client.behaviour.other_execution:
            known = known.model_copy(update={"execution_id": "another"})
        return _away() if client.behaviour.down else _json(known.model_dump_json())

    async def cancel(self, request: Request) -> Response:
        client = self._of(request)
        if client is None:
            return _away()
        asked = CancelRequest.model_validate_json(await request.body())
        if asked.project_id is not None and (refusal := _refused(client, asked.fence)) is not None:
            return refusal
        execution = client.executions.get(request.path_params["execution"])
        if execution is None:
            return _problem(404, "no such execution")
        if not execution.state.ended:
            self._end(client, execution, ExecutionState.CANCELLED)
        return _json(client.executions[execution.execution_id].model_dump_json(), 202)

    async def collect(self, request: Request) -> Response:
        client = self._of(request)
        if client is None:
            return _away()
        asked = CollectRequest.model_validate_json(await request.body())
        client.collections += 1
        if client.behaviour.dies and client.collections > 1:
            names = tuple(rule.name for rule in asked.rules)
            return _json(Collected(unmatched_rules=names, boot_id=BOOT_ID).model_dump_json())
        processes = tuple(_process(client, rule.name) for rule in asked.rules)
        seen = Collected(processes=processes, boot_id=BOOT_ID, collected_at=datetime.now(UTC))
        return _json(seen.model_dump_json())

    async def list_containers(self, request: Request) -> Response:
        client = self._of(request)
        if client is None or not client.engine.lists:
            return _away()
        return _json(client.engine.listed().model_dump_json())

    async def collect_containers(self, request: Request) -> Response:
        client = self._of(request)
        return _away() if client is None else _json(client.engine.collected().model_dump_json())

    async def report(self, request: Request) -> Response:
        client = self._of(request)
        if client is None:
            return _away()
        asked = ReportRequest.model_validate_json(await request.body())
        client.reports.append(asked)
        answer = Reported(report_id=f"report-{len(client.reports)}", delivered=True)
        return _json(answer.model_dump_json())

    async def check(self, request: Request) -> Response:
        client = self._of(request)
        if client is None:
            return _away()
        asked = CheckRequest.model_validate_json(await request.body())
        answer = CheckAnswer(
            installed=True,
            version=client.wanted,
            observed_version=client.version if asked.version_probe else None,
            checks=tuple(
                CheckResult(type=one.type, subject="simulated", passed=True) for one in asked.checks
            ),
        )
        return _json(answer.model_dump_json())

    async def monitor(self, request: Request) -> Response:
        client = self._of(request)
        if client is None:
            return _away()
        project = request.path_params["project"]
        if request.method == "DELETE":
            client.monitors.pop(project, None)
            return Response(status_code=204)
        asked = await request.json()
        client.monitors[project] = asked
        return JSONResponse(_monitor(project, asked))

    async def list_monitors(self, request: Request) -> Response:
        client = self._of(request)
        if client is None:
            return _away()
        return JSONResponse([_monitor(project, asked) for project, asked in client.monitors.items()])


def _monitor(project_id: str, asked: dict[str, Any]) -> dict[str, Any]:
    return {"project_id": project_id} | {
        name: asked[name]
        for name in PutMonitor.model_fields
        if name in asked and name in Monitor.model_fields
    }


def _process(client: SimulatedClient, rule: str) -> ProcessInfo:
    return ProcessInfo(
        pid=client.pid,
        name="app",
        cmdline="app --serve" + (" \0" if client.behaviour.nuls else ""),
        start_time=client.started,
        status="sleeping",
        cpu_percent=client.cpu_percent,
        memory_mb=client.memory_mb,
        matched_by=rule,
        survives_agent_stop=True,
        ppid=1,
        start_ticks=int(client.started.timestamp() * 100) % 2**40,
        is_root=True,
    )


def _refused(client: SimulatedClient, fence: int | None) -> Response | None:
    """As agent/fences.py does it, in memory."""
    if (fence or 0) < client.fence:
        return _problem(409, f"fence {fence} is lower than {client.fence}", LOWER_FENCE)
    client.fence = fence or 0
    return None


def _json(body: str, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")


def _away() -> Response:
    return _problem(503, "the agent is away")


def _problem(status: int, detail: str, title: str = "Simulated") -> Response:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JSONResponse(body, status, media_type="application/problem+json")
