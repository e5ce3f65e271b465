"""`AgentApi`: how flows and the release API talk to an agent, and which of its failures are worth another try."""

import json
import re
from collections.abc import Mapping
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel, RootModel, ValidationError

from agent.errors import PermanentAgentError, TransientAgentError
from agent.transport import agent_http_client
from agent.wire.containers import (
    CollectedContainers,
    ContainerCollectRequest,
    ContainerDeployRequest,
    ContainerListRequest,
    ContainerReported,
    ListedContainers,
)
from agent.wire.executions import ExecuteRequest, Execution, ExecutionLog
from agent.wire.info import AgentInfo
from agent.wire.monitors import Monitor, PutMonitor
from agent.wire.pods import CollectedPods, KubernetesDeployRequest, PodCollectRequest, PodReported
from agent.wire.problems import Problem
from agent.wire.processes import Collected, CollectRequest, Reported, ReportRequest
from agent.wire.releases import CheckAnswer, CheckRequest

__all__ = ["AgentApi", "agent_http_client"]

A = TypeVar("A", bound=BaseModel)

_NEEDED: Mapping[type[BaseModel], Mapping[str, str]] = {
    CheckRequest: {"checks": "evidence_checks", "run_as": "check_run_as"},
    PutMonitor: {
        "version_probe": "monitor_probe",
        "work_dir": "monitor_probe",
        "run_as": "monitor_probe",
        "containers": "monitor_containers",
        "pods": "monitor_pods",
    },
}
"""Optional fields, and the feature an agent must list before it is sent one."""

MAX_ANSWER_BYTES = 8 * 1024 * 1024
_MAX_REASON_CHARACTERS = 1000
_TOKEN = re.compile(r"[\x21-\x7e]+")
_TRANSIENT = frozenset({429, 502, 503, 504})


class Monitors(RootModel[list[Monitor]]):
    """All that an agent reports by itself."""


class AgentApi:
    """One agent, seen through a shared `httpx.AsyncClient` (see `agent_http_client`).

    Every method raises TransientAgentError or PermanentAgentError. `client_id`, where given, is sent with every
    mutating command, so that another host's agent refuses it; `fence` is the lease's number. A `token` that can't be
    sent (empty, blanks, not ASCII) is refused at the first call: PermanentAgentError, status 0.
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
        # Not compressed: the limit on an answer's size then holds for what is unpacked, too.
        self._headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}
        self._bad_token = _what_is_wrong(token)
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
        self._info = self._read(AgentInfo, await self._call("GET", "/v1/info"))
        return self._info

    async def execute(self, request: ExecuteRequest) -> Execution:
        """Start an execution, or hear what became of it: repeating a request is safe."""
        answer = await self._send("POST", "/v1/commands/release.execute", request, Execution)
        return self._about(request.execution_id, answer)

    async def deploy_container(self, request: ContainerDeployRequest) -> Execution:
        """Bring the project's container to a version, or hear what became of it: repeating a request is safe."""
        answer = await self._send("POST", "/v1/commands/container.deploy", request, Execution)
        return self._about(request.execution_id, answer)

    async def deploy_to_kubernetes(self, request: KubernetesDeployRequest) -> Execution:
        """Bring the project's Deployment to a version, or hear what became of it: repeating a request is safe."""
        answer = await self._send("POST", "/v1/commands/kubernetes.deploy", request, Execution)
        return self._about(request.execution_id, answer)

    async def execution(self, execution_id: str, wait_s: float = 0) -> Execution:
        """The execution when it ends, or as it is after `wait_s` (at most 60) seconds."""
        path, query = f"/v1/executions/{execution_id}", {"wait_s": f"{wait_s:g}"}
        answer = self._read(Execution, await self._call("GET", path, query=query, patience_s=wait_s))
        return self._about(execution_id, answer)

    async def log(self, execution_id: str, offset: int = 0) -> ExecutionLog:
        """A slice of the execution's output from byte `offset` on."""
        path = f"/v1/executions/{execution_id}/log"
        return self._read(ExecutionLog, await self._call("GET", path, query={"offset": str(offset)}))

    async def cancel(self, execution_id: str) -> Execution:
        """Begin to end an execution."""
        path, content = f"/v1/executions/{execution_id}/cancel", self._lease()
        return self._read(Execution, await self._call("POST", path, content=content))

    async def cancel_if_known(self, execution_id: str, project_id: str) -> Execution | None:
        """Begin to end an execution that may never have come; None where it has not.

        Then it won't any more, where an earlier holder of the lease had sent it: its fence is too low by now.
        """
        path, content = f"/v1/executions/{execution_id}/cancel", self._lease()
        if "cancel_project" in await self._features():
            content["project_id"] = project_id
        try:
            return self._read(Execution, await self._call("POST", path, content=content))
        except PermanentAgentError as error:
            if error.status == 404:
                return None
            raise

    async def check(self, request: CheckRequest) -> CheckAnswer:
        """What is installed, and what answers. `checks` of the answer is None where the agent can't do them."""
        probe = (request.version_probe,) if request.version_probe is not None else ()
        longest_s = max((one.timeout_s for one in (*probe, *request.checks)), default=0)
        return await self._send("POST", "/v1/commands/release.check", request, CheckAnswer, longest_s)

    async def collect(self, request: CollectRequest) -> Collected:
        """What matches the rules now."""
        return await self._send("POST", "/v1/commands/process.collect", request, Collected)

    async def report(self, request: ReportRequest) -> Reported:
        """Have the agent collect and report to the release API now."""
        return await self._send("POST", "/v1/commands/process.report", request, Reported)

    async def collect_containers(self, request: ContainerCollectRequest) -> CollectedContainers:
        """The host's containers with their measurements. An engine that is down is a TransientAgentError (503)."""
        return await self._send("POST", "/v1/commands/container.collect", request, CollectedContainers)

    async def list_containers(self, request: ContainerListRequest) -> ListedContainers:
        """The host's containers without measurements, and how many each prefix has."""
        return await self._send("POST", "/v1/commands/container.list", request, ListedContainers)

    async def report_containers(self, request: ContainerCollectRequest) -> ContainerReported:
        """Have the agent collect and report to the release API now."""
        return await self._send("POST", "/v1/commands/container.report", request, ContainerReported)

    async def collect_pods(self, request: PodCollectRequest) -> CollectedPods:
        """The cluster's pods. A cluster that is down is a TransientAgentError (503)."""
        return await self._send("POST", "/v1/commands/pod.collect", request, CollectedPods)

    async def report_pods(self, request: PodCollectRequest) -> PodReported:
        """Have the agent collect and report to the release API now."""
        return await self._send("POST", "/v1/commands/pod.report", request, PodReported)

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
        return self._read(Monitors, await self._call("GET", "/v1/monitors")).root

    async def _send(
        self, method: str, path: str, request: BaseModel, answer: type[A], patience_s: float = 0
    ) -> A:
        content = request.model_dump(mode="json", exclude_none=True, exclude_unset=True)
        if "client_id" in type(request).model_fields:
            content = {**self._lease(), **content}
        for field, feature in _NEEDED.get(type(request), {}).items():
            if field in content and feature not in await self._features():
                del content[field]
        return self._read(answer, await self._call(method, path, content=content, patience_s=patience_s))

    async def _features(self) -> tuple[str, ...]:
        info = self._info or await self.info()
        return info.features

    def _lease(self) -> dict[str, Any]:
        lease = {"client_id": self._client_id, "fence": self._fence}
        return {name: value for name, value in lease.items() if value is not None}

    def _read(self, answer: type[A], content: bytes) -> A:
        try:
            return answer.model_validate_json(without_nul(content))
        except ValidationError as error:
            raise TransientAgentError(
                f"cannot understand the answer of {self._url}: no {answer.__name__}"
            ) from error

    def _about(self, execution_id: str, answer: Execution) -> Execution:
        """Raises TransientAgentError where the agent answers about another execution than was asked."""
        if answer.execution_id != execution_id:
            said = f"{self._url} answers about another execution than {execution_id}"
            raise TransientAgentError(f"cannot understand the answer: {said}")
        return answer

    async def _call(
        self,
        method: str,
        path: str,
        *,
        content: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        patience_s: float = 0,
    ) -> bytes:
        if self._bad_token is not None:
            raise PermanentAgentError(f"cannot {method} {path} at {self._url}: {self._bad_token}", status=0)
        timeout = httpx.Timeout(10, read=30 + patience_s, pool=60)
        try:
            async with self._http.stream(
                method, self._url + path, json=content, params=query, headers=self._headers, timeout=timeout
            ) as response:
                answer = await _content(response)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise TransientAgentError(self._cannot(method, path, error), may_have_arrived=False) from error
        except httpx.InvalidURL as error:
            raise PermanentAgentError(self._cannot(method, path, error), status=0) from error
        except httpx.LocalProtocolError:
            # Its text, also where a traceback shows it as the cause, quotes the header that it dislikes: the token's.
            raise TransientAgentError(f"cannot {method} {path} at {self._url}: LocalProtocolError") from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise TransientAgentError(self._cannot(method, path, error)) from error
        if not response.is_success:
            raise self._refusal(method, path, response, answer)
        if answer is None:
            raise TransientAgentError(
                f"cannot {method} {path} at {self._url}: the answer is packed, or over {MAX_ANSWER_BYTES} bytes"
            )
        return answer

    def _cannot(self, method: str, path: str, error: Exception) -> str:
        why = f"{type(error).__name__}: {error}"[:_MAX_REASON_CHARACTERS]
        return f"cannot {method} {path} at {self._url}: {why}".rstrip(": ")

    def _refusal(self, method: str, path: str, response: httpx.Response, answer: bytes | None) -> Exception:
        problem = _problem(answer)
        why = (problem.detail if problem is not None else response.reason_phrase)[:_MAX_REASON_CHARACTERS]
        message = f"cannot {method} {path} at {self._url}: {response.status_code}: {why}"
        if response.status_code in _TRANSIENT:
            # A proxy's 502 and 504 don't tell whether the agent has heard of it; a 503 is answered instead of acting.
            return TransientAgentError(message, may_have_arrived=response.status_code in (502, 504))
        return PermanentAgentError(message, status=response.status_code, problem=problem)


def without_nul(content: bytes) -> bytes:
    """The same JSON with every NUL in a text replaced: PostgreSQL takes none, and a text for people needs none."""
    if b"\\u0000" not in content:
        return content
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return content  # it is none: said by whoever reads it
    return json.dumps(_cleaned(value)).encode()


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, list):
        return [_cleaned(one) for one in value]
    if isinstance(value, dict):
        return {_cleaned(name): _cleaned(one) for name, one in value.items()}
    return value


def _what_is_wrong(token: str) -> str | None:
    if not token:
        return "no token is kept for it"
    if _TOKEN.fullmatch(token) is None:
        return "the token that is kept for it has characters that no header can carry"
    return None


async def _content(response: httpx.Response) -> bytes | None:
    """The body; None for one that is too large or packed. Raises httpx.TransportError."""
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        return None
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            return None
    return bytes(content)


def _problem(answer: bytes | None) -> Problem | None:
    try:
        return None if answer is None else Problem.model_validate_json(answer)
    except ValidationError:
        return None
