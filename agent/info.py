"""`/healthz` and `/v1/info`: who this agent is and what it can do."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from datetime import datetime

from agent import __version__
from agent.endpoints import Call, Endpoint
from agent.executions.methods import detach_methods, free_bytes
from agent.executions.tree import boot_id
from agent.settings import AgentSettings
from agent.wire.base import Answer
from agent.wire.info import FEATURES, AgentInfo


class Health(Answer):
    """The agent answers."""

    status: str = "ok"


def info_endpoints(
    settings: AgentSettings,
    started_at: datetime,
    docker_version: Callable[[], Awaitable[str | None]],
    kubernetes_version: Callable[[], Awaitable[str | None]],
) -> list[Endpoint]:
    """The agent's own state, which changes only when it restarts; the versions are asked for each time."""
    info = AgentInfo(
        client_id=settings.client_id,
        agent_version=__version__,
        features=FEATURES,
        hostname=socket.gethostname(),
        boot_id=boot_id(),
        started_at=started_at,
        detach_methods=detach_methods(),
        min_free_bytes=settings.min_free_bytes,
    )

    async def healthz(_call: Call) -> Health:
        return Health()

    async def read_info(_call: Call) -> AgentInfo:
        docker, kubernetes = await asyncio.gather(docker_version(), kubernetes_version())
        found = {
            "docker_version": docker,
            "kubernetes": kubernetes,
            "free_bytes": free_bytes(settings.state_dir),
        }
        return info.model_copy(update=found)

    return [
        Endpoint(
            "GET", "/healthz", "healthz", healthz, "Whether the agent answers", answer=Health, public=True
        ),
        Endpoint(
            "GET",
            "/v1/info",
            "info",
            read_info,
            "Who this agent is and what it can do",
            answer=AgentInfo,
        ),
    ]
