"""Puts the agent together from its parts."""

from datetime import UTC, datetime

from agent.app import Lifespan, build_app
from agent.endpoints import Endpoint
from agent.executions.endpoints import execution_endpoints
from agent.executions.executions import Executions
from agent.fences import Fences
from agent.guard import Guard
from agent.info import info_endpoints
from agent.settings import AgentSettings


def assemble(settings: AgentSettings) -> Guard:
    """The whole agent as one ASGI application; its lifespan starts and stops the parts."""
    fences = Fences(settings.state_dir)
    executions = Executions(settings, fences)
    endpoints: list[Endpoint] = [
        *info_endpoints(settings, datetime.now(UTC)),
        *execution_endpoints(executions),
    ]
    lifespans: list[Lifespan] = [executions.lifespan]
    return build_app(settings, endpoints, fences=fences, lifespans=lifespans)
