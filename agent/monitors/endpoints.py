"""The monitors over HTTP."""

from agent.endpoints import Call, Endpoint
from agent.monitors.service import Monitors
from agent.wire.base import MutatingRequest
from agent.wire.monitors import Monitor, PutMonitor

_ONE = "/v1/monitors/{project_id}"


def monitor_endpoints(monitors: Monitors) -> list[Endpoint]:
    """Put, get, delete and list. A DELETE carries `client_id` and `fence` in its query."""

    async def put(call: Call) -> Monitor:
        return await monitors.put(call.path["project_id"], call.body)

    async def get(call: Call) -> Monitor:
        return monitors.get(call.path["project_id"])

    async def delete(call: Call) -> None:
        await monitors.delete(call.path["project_id"])

    async def list_all(_call: Call) -> list[Monitor]:
        return monitors.all()

    return [
        Endpoint("PUT", _ONE, "monitor.put", put, "Watch a project", Monitor, request=PutMonitor),
        Endpoint("GET", _ONE, "monitor.get", get, "A monitor as it stands", Monitor),
        Endpoint(
            "DELETE",
            _ONE,
            "monitor.delete",
            delete,
            "Watch a project no longer",
            query=MutatingRequest,
            status=204,
        ),
        Endpoint("GET", "/v1/monitors", "monitor.list", list_all, "Every monitor", list[Monitor]),
    ]
