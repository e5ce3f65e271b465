"""What is said to a deploy task that is under way: /release/tasks/{id}/{approve,pause,resume,promote,rollback}."""

from collections.abc import Callable
from datetime import datetime

from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.responses import Response

from api.body import StrictRoute
from api.calls import Call, Posted
from api.deploy_task_answers import whole
from api.idempotency import perform_steps
from api.replies import Reply
from api.schemas.deploy_tasks import Comment, DeployTaskAnswer
from db.models import DeployTask
from db.queries.deploy_tasks import get_deploy_task
from tasks.planning import steering
from tasks.planning.controls import is_unstarted, wants_run
from tasks.planning.lease import check_leases_free

router = APIRouter(prefix="/release/tasks", tags=["deploy tasks"], route_class=StrictRoute)

Change = Callable[[Session, DeployTask, str, datetime, str], DeployTask]


@router.post("/{task_id}/approve", status_code=202, response_model=DeployTaskAnswer)
def approve_task(task_id: str, call: Posted, body: Comment | None = None) -> Response:
    """Let its plan be carried out, where its environment asks for approval: another token than its creator's."""
    return _steer(call, task_id, steering.approve, body)


@router.post("/{task_id}/pause", status_code=202, response_model=DeployTaskAnswer)
def pause_task(task_id: str, call: Posted, body: Comment | None = None) -> Response:
    """Start no further client until it is resumed; who is in flight is finished."""
    return _steer(call, task_id, steering.pause, body)


@router.post("/{task_id}/resume", status_code=202, response_model=DeployTaskAnswer)
def resume_task(task_id: str, call: Posted, body: Comment | None = None) -> Response:
    """Go on after a pause, or in spite of the failures that it was held for; begins a flow run where its own is gone."""
    return _steer(call, task_id, steering.resume, body)


@router.post("/{task_id}/promote", status_code=202, response_model=DeployTaskAnswer)
def promote_task(task_id: str, call: Posted, body: Comment | None = None) -> Response:
    """Go on after the canary, or after a wave that it was to be held after."""
    return _steer(call, task_id, steering.promote, body)


@router.post("/{task_id}/rollback", status_code=202, response_model=DeployTaskAnswer)
def roll_task_back(task_id: str, call: Posted, body: Comment | None = None) -> Response:
    """Take every client that it changed back to the version that it had; a deploy task that has ended, too."""
    return _steer(call, task_id, steering.roll_back, body)


def _steer(call: Call, task_id: str, change: Change, body: Comment | None) -> Response:
    comment = (body or Comment()).comment

    def say(session: Session) -> str | None:
        """The key of the flow run that has to be begun for it."""
        task = get_deploy_task(session, task_id)
        waits, unstarted = task.hold is not None, is_unstarted(task)
        change(session, task, call.who, call.now, comment)
        unstarted = unstarted and change is not steering.roll_back
        if change is steering.pause or unstarted or (change is steering.approve and not waits):
            return None
        key = wants_run(session, task, call.now)
        if key is not None:
            check_leases_free(session, task, call.now)
        return key

    def action() -> Reply:
        with call.database.write() as session:
            needed = say(session)
            session.rollback()
        if needed:
            call.parts.flow_runs.check()
        with call.database.write() as session:
            key = say(session)
        if key:
            call.parts.flow_runs.start(task_id, key)
        with call.database.read() as session:
            return Reply(202, whole(session, get_deploy_task(session, task_id)))

    return perform_steps(call, action)
