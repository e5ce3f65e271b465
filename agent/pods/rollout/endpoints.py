"""`kubernetes.deploy` over HTTP: an execution like a script's, asked about at the same addresses."""

from agent.endpoints import Call, Endpoint
from agent.executions.executions import Executions
from agent.wire.executions import Execution
from agent.wire.pods import KubernetesDeployRequest


def rollout_endpoint(executions: Executions) -> Endpoint:
    """202 with the execution; 200 with what it is now, where its id is known already."""

    async def deploy(call: Call) -> object:
        return await executions.execute(call.body)

    return Endpoint(
        "POST",
        "/v1/commands/kubernetes.deploy",
        "kubernetes.deploy",
        deploy,
        "Set a version's image in a Deployment and wait for the rollout, once; 200 where its id is known already",
        answer=Execution,
        request=KubernetesDeployRequest,
        status=202,
        also=(200,),
    )
