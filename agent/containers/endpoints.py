"""`container.collect`, `container.list` and `container.report` over HTTP."""

from agent.containers.service import Containers
from agent.endpoints import Call, Endpoint
from agent.wire.containers import (
    CollectedContainers,
    ContainerCollectRequest,
    ContainerListRequest,
    ContainerReported,
    ContainerReportRequest,
    ListedContainers,
)


def container_endpoints(containers: Containers) -> list[Endpoint]:
    """What is asked about the host's containers. Each answers 503 where the engine doesn't answer."""

    async def collect(call: Call) -> CollectedContainers:
        return await containers.collect(call.body)

    async def list_all(call: Call) -> ListedContainers:
        return await containers.list_all(call.body)

    async def report(call: Call) -> ContainerReported:
        return await containers.report(call.body)

    return [
        Endpoint(
            "POST",
            "/v1/commands/container.collect",
            "container.collect",
            collect,
            "The host's containers with what they use now",
            answer=CollectedContainers,
            request=ContainerCollectRequest,
        ),
        Endpoint(
            "POST",
            "/v1/commands/container.list",
            "container.list",
            list_all,
            "The host's containers without measurements, and how many each prefix has",
            answer=ListedContainers,
            request=ContainerListRequest,
        ),
        Endpoint(
            "POST",
            "/v1/commands/container.report",
            "container.report",
            report,
            "Collect the host's containers, and send them to the release API now",
            answer=ContainerReported,
            request=ContainerReportRequest,
        ),
    ]
