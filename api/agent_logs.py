"""A running script's own output, asked of the agent.

An agent that does not answer keeps nobody else waiting: it is asked on the event loop, for a few seconds, and only so
many are asked at the same time.
"""

import asyncio
from dataclasses import dataclass

from agent.client import AgentApi, agent_http_client
from agent.errors import PermanentAgentError, TransientAgentError
from agent.errors import SettingsError as CallerSettingsError
from agent.transport import caller_tls
from agent.wire.executions import ExecutionLog
from api.errors import SettingsError, TransientApiError, not_found

TIMEOUT_S = 5.0
AT_ONCE = 50
_asking: set[object] = set()


@dataclass(frozen=True, slots=True)
class AgentAddress:
    """Where a client's agent answers, and the token that it wants."""

    client_id: str
    url: str
    token: str


def check_caller_settings() -> None:
    """Raises SettingsError for what HOIST_TLS_* names and can't be used: no agent could be asked."""
    try:
        caller_tls()
    except CallerSettingsError as error:
        raise SettingsError(str(error)) from error


async def read_log(agent: AgentAddress, execution_id: str, offset: int) -> ExecutionLog:
    """A slice of the execution's output. Raises TransientApiError naming the agent, and Refused (404) where it has none."""
    part, me = f"agent {agent.client_id}", object()
    if len(_asking) >= AT_ONCE:
        raise TransientApiError(part, f"cannot read the log now: {AT_ONCE} others are being read")
    _asking.add(me)
    try:
        return await _read(agent, execution_id, offset)
    except PermanentAgentError as error:
        if error.status == 404:
            raise not_found(f"the log of {execution_id}: the agent has it no more") from error
        raise TransientApiError(part, f"cannot read the log: {part} refused: {error.status}") from error
    except CallerSettingsError as error:
        # It could be used at the start: since then the file has gone, or is being exchanged.
        raise TransientApiError("TLS for calling agents", f"cannot read the log: {error}") from error
    except (TransientAgentError, TimeoutError, OSError) as error:
        raise TransientApiError(part, f"cannot read the log: {part} can't be reached") from error
    finally:
        _asking.discard(me)


async def _read(agent: AgentAddress, execution_id: str, offset: int) -> ExecutionLog:
    async with asyncio.timeout(TIMEOUT_S), agent_http_client(max_connections=1, tls=caller_tls()) as http:
        api = AgentApi(http, agent.url, agent.token, client_id=agent.client_id)
        return await api.log(execution_id, offset)
