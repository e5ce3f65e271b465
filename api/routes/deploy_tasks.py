"""Deploy tasks: /release/tasks."""

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy.orm import Session
from starlette.responses import Response

from api.body import StrictRoute
from api.calls import Asked, Call, Posted
from api.deploy_task_answers import summary, whole
from api.idempotency import perform, perform_steps
from api.pagination import Cursor, Limit, cut_page, decode_cursor, page_response
from api.replies import Reply
from api.schemas.deploy_tasks import (
    CancelRequest,
    DeployTaskAnswer,
    DeployTaskSummary,
    RetryRequest,
    StartAnswer,
    StartRequest,
    TaskStatus,
)
from api.secrecy import shown_to
from db.documents.deploy_request import DeployTaskRequest
from db.ids import is_id
from db.models import DeployTask
from db.queries import projects
from db.queries.deploy_tasks import counts_of_many, get_deploy_task, list_deploy_tasks
from tasks.planning import create_deploy_task
from tasks.planning.controls import begin_start, prepare_retry, request_cancel, wants_run
from tasks.planning.deregistered import settle_deregistered

router = APIRouter(prefix="/release/tasks", tags=["deploy tasks"], route_class=StrictRoute)


@router.post("", status_code=201, response_model=DeployTaskAnswer)
def create_task(body: DeployTaskRequest, call: Posted) -> Response:
    """Select clients and freeze the plan; nothing runs until it is started. Nobody left: 422, nothing stored."""

    def change(session: Session) -> Reply:
        task = create_deploy_task(session, body, now=call.now, who=call.who)
        return Reply(201, whole(session, task))

    return perform(call, change)


@router.get("", response_model=list[DeployTaskSummary])
def list_tasks(
    call: Asked,
    project_id: Annotated[str | None, Query(max_length=100, description="An id or a name.")] = None,
    status: TaskStatus | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """List deploy tasks, newest first, without their plans and results."""
    after = decode_cursor(cursor, is_id)
    with call.database.read() as session:
        project = projects.get_project(session, project_id) if project_id is not None else None
        found = list_deploy_tasks(
            session,
            project_id=project.id if project else None,
            status=status,
            limit=limit + 1,
            cursor=after,
        )
        rows, next_key = cut_page(found, limit, lambda row: row.id)
        counts = counts_of_many(session, [row.id for row in rows])
        return page_response(
            call.url, [shown_to(call.principal, summary(row, counts[row.id])) for row in rows], next_key
        )


@router.get("/{task_id}", response_model=DeployTaskAnswer)
def get_task(task_id: str, call: Asked) -> Response:
    """One deploy task, with its plan and its results."""
    with call.database.read() as session:
        answer = whole(session, get_deploy_task(session, task_id))
        return Reply(200, shown_to(call.principal, answer)).response()


@router.post("/{task_id}/start", status_code=202, response_model=StartAnswer)
def start_task(task_id: str, call: Posted, body: StartRequest | None = None) -> Response:
    """Begin a flow run. A changed fleet, or one that another run has its hands on: 409. No Prefect: 503."""
    replan = (body or StartRequest()).replan

    def action() -> Reply:
        _check_startable(call, task_id, replan)
        call.parts.flow_runs.check()
        return _start(call, task_id, replan)

    return perform_steps(call, action)


def _start(call: Call, task_id: str, replan: bool) -> Reply:
    with call.database.write() as session:
        task = get_deploy_task(session, task_id)
        key = _begin(session, call, task, replan)
    return Reply(202, call.parts.flow_runs.start(task.id, key))


def _check_startable(call: Call, task_id: str, replan: bool) -> None:
    """Raises what stands in the way; the transaction is rolled back either way, as Prefect isn't asked yet."""
    with call.database.write() as session:
        _begin(session, call, get_deploy_task(session, task_id), replan)
        session.rollback()


def _begin(session: Session, call: Call, task: DeployTask, replan: bool) -> str:
    """Answers the flow run's key. A deploy task that had begun goes on without who was deregistered since."""
    settle_deregistered(session, task, call.now)
    return begin_start(session, task, replan, call.now, who=call.who)


@router.post("/{task_id}/cancel", status_code=202, response_model=DeployTaskAnswer)
def cancel_task(task_id: str, call: Posted, body: CancelRequest | None = None) -> Response:
    """Start no further client; running scripts finish, or are killed."""
    wish = body or CancelRequest()

    def action() -> Reply:
        with call.database.write() as session:
            needed = _cancel(session, call, task_id, wish)
            session.rollback()
        if needed:
            call.parts.flow_runs.check()
        with call.database.write() as session:
            key = _cancel(session, call, task_id, wish)
        if (
            key
        ):  # its clients are in flight, and the run that watched them is gone: another one asks their agents
            call.parts.flow_runs.start(task_id, key)
        with call.database.read() as session:
            return Reply(202, whole(session, get_deploy_task(session, task_id)))

    return perform_steps(call, action)


def _cancel(session: Session, call: Call, task_id: str, wish: CancelRequest) -> str | None:
    task = get_deploy_task(session, task_id)
    task = request_cancel(session, task, wish.running, call.who, call.now, comment=wish.comment)
    return wants_run(session, task, call.now)


@router.post("/{task_id}/retry", status_code=202, response_model=StartAnswer)
def retry_task(task_id: str, call: Posted, body: RetryRequest | None = None) -> Response:
    """Try clients of an ended deploy task again, under the same plan; begins a flow run, as `start` does."""
    wish = body or RetryRequest()

    def action() -> Reply:
        with call.database.write() as session:
            _begin_retry(session, call, task_id, wish)
            session.rollback()
        call.parts.flow_runs.check()
        with call.database.write() as session:
            key = _begin_retry(session, call, task_id, wish)
        return Reply(202, call.parts.flow_runs.start(task_id, key))

    return perform_steps(call, action)


def _begin_retry(session: Session, call: Call, task_id: str, wish: RetryRequest) -> str:
    """In one transaction, so that a retry whose start is refused wipes no failure; answers the flow run's key."""
    task = get_deploy_task(session, task_id)
    prepare_retry(session, task, wish.client_ids, wish.statuses, call.who, call.now)
    return _begin(session, call, task, replan=False)
