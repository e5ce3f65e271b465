"""The HTTP side of executions."""

from typing import Annotated

from pydantic import Field

from agent.endpoints import Call, Endpoint
from agent.executions.executions import Executions
from agent.wire.base import MutatingRequest, OpaqueId, Request
from agent.wire.executions import ExecuteRequest, Execution, ExecutionLog


class ExecutionQuery(Request):
    """How long to wait for the end, in seconds; 0 answers at once."""

    wait_s: Annotated[float, Field(ge=0, le=60)] = 0


class LogQuery(Request):
    """From which byte of the output on."""

    offset: Annotated[int, Field(ge=0, le=2**53)] = 0


class CancelRequest(MutatingRequest):
    """Who asks, and under which lease.

    `project_id`: whose execution it is, where it may never have come. Then 404 is the answer, and the `fence` is kept:
    a request with a lower one, that is still under way, is refused.
    """

    project_id: OpaqueId | None = None


def execution_endpoints(executions: Executions) -> list[Endpoint]:
    """`release.execute`, and what is asked about executions."""

    async def execute(call: Call) -> object:
        return await executions.execute(call.body)

    async def read(call: Call) -> object:
        return await executions.wait(call.path["execution_id"], call.query.wait_s)

    async def read_log(call: Call) -> object:
        return await executions.read_log(call.path["execution_id"], call.query.offset)

    async def cancel(call: Call) -> object:
        return await executions.cancel(call.path["execution_id"], call.body.fence)

    one = "/v1/executions/{execution_id}"
    return [
        Endpoint(
            "POST",
            "/v1/commands/release.execute",
            "release.execute",
            execute,
            "Run a script once, detached from the agent; 200 where its id is known already",
            answer=Execution,
            request=ExecuteRequest,
            status=202,
            also=(200,),
        ),
        Endpoint(
            "GET",
            one,
            "execution.get",
            read,
            "The execution, when it ends or after wait_s seconds",
            answer=Execution,
            query=ExecutionQuery,
        ),
        Endpoint(
            "GET",
            f"{one}/log",
            "execution.log",
            read_log,
            "A slice of its output",
            answer=ExecutionLog,
            query=LogQuery,
        ),
        Endpoint(
            "POST",
            f"{one}/cancel",
            "execution.cancel",
            cancel,
            "Begin to end it and all that it started",
            answer=Execution,
            request=CancelRequest,
            status=202,
        ),
    ]
