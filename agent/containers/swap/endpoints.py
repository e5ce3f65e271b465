"""`container.deploy` over HTTP: an execution like a script's, asked about at the same addresses."""

from agent.endpoints import Call, Endpoint
from agent.executions.executions import Executions
from agent.wire.containers import ContainerDeployRequest
from agent.wire.executions import Execution


def deploy_endpoint(executions: Executions) -> Endpoint:
    """202 with the execution; 200 with what it is now, where its id is known already."""

    async def deploy(call: Call) -> object:
        return await executions.execute(call.body)

    return Endpoint(
        "POST",
        "/v1/commands/container.deploy",
        "container.deploy",
        deploy,
        "Put a version's container in the place of the one before it, once; 200 where its id is known already",
        answer=Execution,
        request=ContainerDeployRequest,
        status=202,
        also=(200,),
    )
