"""`AgentApi`: how flows and the release API talk to an agent, and which of its failures are worth another try."""

from collections.abc import Mapping
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from agent.errors import PermanentAgentError, TransientAgentError
from agent.transport import agent_http_client
from agent.wire.executions import ExecuteRequest, Execution, ExecutionLog
from agent.wire.info import AgentInfo
from agent.wire.monitors import Monitor, PutMonitor
from agent.wire.problems import Problem
from agent.wire.processes import Collected, CollectRequest, Reported, ReportRequest
from agent.wire.releases import CheckAnswer, CheckRequest

__all__ = ["AgentApi", "agent_http_client"]

A = TypeVar("A", bound=BaseModel)

_NEEDED: Mapping[type[BaseModel], Mapping[str, str]] = {
    CheckRequest: {"checks": "evidence_checks", "run_as": "check_run_as"},
    PutMonitor: {"version_probe": "monitor_probe", "work_dir": "monitor_probe", "run_as": "monitor_probe"},
}
"""Optional fields, and the feature an agent must list before it is sent one."""

_MONITORS = TypeAdapter(list[Monitor])
_TRANSIENT = frozenset({429, 502, 503, 504})


class AgentApi:
    """One agent, seen through a shared `httpx.AsyncClient` (see `agent_http_client`).

    Every method raises TransientAgentError or PermanentAgentError. `client_id`, where given, is sent with every
    mutating command, so that another host's agent refuses it; `fence` is the lease's number.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        url: str,
        token: str,
        *,
        client_id: str | None = None,
        fence: int | None = None,
        info: AgentInfo | None = None,
    ) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._client_id = client_id
        self._fence = fence
        self._info = info

    def with_fence(self, fence: int) -> Self:
        """The same agent, under a lease."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, _fence=fence)
        return other

    async def info(self) -> AgentInfo:
        """Ask who it is, and remember its features."""
        self._info = AgentInfo.model_validate_json(await self._call("GET", "/v1/info"))
        return self._info

    async def execute(self, request: ExecuteRequest) -> Execution:
        """Start an execution, or hear what became of it: repeating a request is safe."""
        return await self._send("POST", "/v1/commands/release.execute", request, Execution)

    async def execution(self, execution_id: str, wait_s: float = 0) -> Execution:
        """The execution when it ends, or as it is after `wait_s` (at most 60) seconds."""
        path, query = f"/v1/executions/{execution_id}", {"wait_s": f"{wait_s:g}"}
        return self._read(Execution, await self._call("GET", path, query=query, patience_s=wait_s))

    async def log(self, execution_id: str, offset: int = 0) -> ExecutionLog:
        """A slice of the execution's output from byte `offset` on."""
        path = f"/v1/executions/{execution_id}/log"
        return self._read(ExecutionLog, await self._call("GET", path, query={"offset": str(offset)}))

    async def cancel(self, execution_id: str) -> Execution:
        """Begin to end an execution."""
        path, content = f"/v1/executions/{execution_id}/cancel", self._lease()
        return self._read(Execution, await self._call("POST", path, content=content))

    async def check(self, request: CheckRequest) -> CheckAnswer:
        """What is installed, and what answers. `checks` of the answer is None where the agent can't do them."""
        return await self._send("POST", "/v1/commands/release.check", request, CheckAnswer)

    async def collect(self, request: CollectRequest) -> Collected:
        """What matches the rules now."""
        return await self._send("POST", "/v1/commands/process.collect", request, Collected)

    async def report(self, request: ReportRequest) -> Reported:
        """Have the agent collect and report to the release API now."""
        return await self._send("POST", "/v1/commands/process.report", request, Reported)

    async def put_monitor(self, project_id: str, request: PutMonitor) -> Monitor:
        """Have the agent report a project's processes by itself from now on."""
        return await self._send("PUT", f"/v1/monitors/{project_id}", request, Monitor)

    async def delete_monitor(self, project_id: str) -> None:
        """Have it stop; there being none is fine."""
        query = {name: str(value) for name, value in self._lease().items()}
        try:
            await self._call("DELETE", f"/v1/monitors/{project_id}", query=query)
        except PermanentAgentError as error:
            if error.status != 404:
                raise

    async def monitors(self) -> list[Monitor]:
        """All that it reports by itself."""
        return _MONITORS.validate_json(await self._call("GET", "/v1/monitors"))

    async def _send(self, method: str, path: str, request: BaseModel, answer: type[A]) -> A:
        content = request.model_dump(mode="json", exclude_none=True, exclude_unset=True)
        if "client_id" in type(request).model_fields:
            content = {**self._lease(), **content}
        for field, feature in _NEEDED.get(type(request), {}).items():
            if field in content and feature not in await self._features():
                del content[field]
        return self._read(answer, await self._call(method, path, content=content))

    async def _features(self) -> tuple[str, ...]:
        info = self._info or await self.info()
        return info.features

    def _lease(self) -> dict[str, Any]:
        lease = {"client_id": self._client_id, "fence": self._fence}
        return {name: value for name, value in lease.items() if value is not None}

    def _read(self, answer: type[A], content: bytes) -> A:
        try:
            return answer.model_validate_json(content)
        except ValidationError as error:
            raise TransientAgentError(
                f"cannot understand the answer of {self._url}: no {answer.__name__}"
            ) from error

    async def _call(
        self,
        method: str,
        path: str,
        *,
        content: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        patience_s: float = 0,
    ) -> bytes:
        timeout = httpx.Timeout(10, read=30 + patience_s, pool=60)
        try:
            response = await self._http.request(
                method, self._url + path, json=content, params=query, headers=self._headers, timeout=timeout
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise TransientAgentError(self._cannot(method, path, error), may_have_arrived=False) from error
        except httpx.InvalidURL as error:
            raise PermanentAgentError(self._cannot(method, path, error), status=0) from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise TransientAgentError(self._cannot(method, path, error)) from error
        if response.is_success:
            return response.content
        raise self._refusal(method, path, response)

    def _cannot(self, method: str, path: str, error: Exception) -> str:
        return f"cannot {method} {path} at {self._url}: {type(error).__name__}: {error}".rstrip(": ")

    def _refusal(self, method: str, path: str, response: httpx.Response) -> Exception:
        problem = _problem(response)
        why = problem.detail if problem is not None else response.reason_phrase
        message = f"cannot {method} {path} at {self._url}: {response.status_code}: {why}"
        if response.status_code in _TRANSIENT:
            # A proxy's 502 and 504 don't tell whether the agent has heard of it; a 503 is answered instead of acting.
            return TransientAgentError(message, may_have_arrived=response.status_code in (502, 504))
        return PermanentAgentError(message, status=response.status_code, problem=problem)


def _problem(response: httpx.Response) -> Problem | None:
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:
        return None
