"""What became of each client: /release/tasks/{task_id}/results."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api.agent_logs import AgentAddress, read_log
from api.body import StrictRoute
from api.calls import Asked, Call
from api.deploy_task_answers import result_answer, result_with_output
from api.errors import TransientApiError
from api.pagination import Cursor, Limit, cut_page, decode_cursor, page_response
from api.replies import Reply
from api.schemas.deploy_tasks import LogAnswer, ResultAnswer, ResultStatus, ResultWithOutput
from db.queries.clients import get_client
from db.queries.deploy_tasks import get_deploy_task, get_result, list_results

router = APIRouter(prefix="/release/tasks/{task_id}/results", tags=["deploy tasks"], route_class=StrictRoute)

Offset = Annotated[int, Query(ge=0, le=2**53, description="Bytes.")]


@router.get("", response_model=list[ResultAnswer])
def list_task_results(
    task_id: str, call: Asked, status: ResultStatus | None = None, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """List a deploy task's results by client, without their output."""
    after = decode_cursor(cursor)
    with call.database.read() as session:
        task = get_deploy_task(session, task_id)
        found = list_results(session, task.id, status=status, limit=limit + 1, cursor=after)
        rows, next_key = cut_page(found, limit, lambda row: row.client_id)
        return page_response(call.url, [result_answer(row, task.strategy) for row in rows], next_key)


@router.get("/{client_id}", response_model=ResultWithOutput)
def get_task_result(task_id: str, client_id: str, call: Asked) -> Response:
    """One client's result, with the end of its script's output."""
    with call.database.read() as session:
        result = get_result(session, task_id, client_id)
        strategy = get_deploy_task(session, task_id).strategy
        return Reply(200, result_with_output(result, strategy)).response()


@router.get("/{client_id}/log", response_model=LogAnswer)
async def read_task_log(task_id: str, client_id: str, call: Asked, offset: Offset = 0) -> Response:
    """The running script's own output from `offset` on, asked of the agent; no agent, or no token kept for it: 503."""
    found = await run_in_threadpool(_find, call, task_id, client_id)
    if isinstance(found, bool):
        return Reply(200, LogAnswer(output="", next_offset=offset, complete=found)).response()
    agent, execution_id = found
    log = await read_log(agent, execution_id, offset)
    answer = LogAnswer(output=log.output, next_offset=log.next_offset, complete=log.complete)
    return Reply(200, answer).response()


def _find(call: Call, task_id: str, client_id: str) -> tuple[AgentAddress, str] | bool:
    """The agent and the execution; where nothing was executed, whether nothing will be."""
    with call.database.read() as session:
        result = get_result(session, task_id, client_id)
        client = get_client(session, client_id)
    if result.execution_id is None:
        return result.status not in ("pending", "running")
    token = call.box.decrypt(client.token_encrypted) if client.token_encrypted else ""
    if not token:
        raise TransientApiError(
            f"agent {client_id}", f"cannot read the log: no token is kept for client {client_id}"
        )
    return AgentAddress(client_id, client.url, token), result.execution_id
