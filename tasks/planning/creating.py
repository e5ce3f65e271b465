"""Writes a deploy task down, with a result for each of its clients; the one way one comes to be."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db.documents.deploy_request import DeployTaskRequest
from db.documents.plan import PlannedClient
from db.models import DeployResult, DeployTask
from db.queries.audit import append_audit
from db.queries.deploy_tasks import find_by_request_key
from tasks.planning.drafting import Draft, draft_deploy_task


def preview_deploy_task(session: Session, request: DeployTaskRequest, now: datetime) -> Draft:
    """What `create_deploy_task` would make, without writing anything; raises the same errors."""
    return draft_deploy_task(session, request, now)


def create_deploy_task(
    session: Session,
    request: DeployTaskRequest,
    *,
    now: datetime,
    who: str,
    request_key: str | None = None,
) -> DeployTask:
    """Select the clients, freeze the plan, write it. The same `request_key` again answers the one that is there.

    Raises NotFoundError (no such project) and PlanningError (nobody left, an unknown client, no script…); nothing is
    stored then.
    """
    if request_key is not None:
        existing = find_by_request_key(session, request_key)
        if existing is not None:
            return existing
    draft = draft_deploy_task(session, request, now)
    try:
        with session.begin_nested():
            return _write(session, draft, request, now=now, who=who, request_key=request_key)
    except IntegrityError:
        existing = find_by_request_key(session, request_key) if request_key is not None else None
        if existing is None:
            raise
        return existing


def write_results(session: Session, deploy_task_id: str, clients: Sequence[PlannedClient]) -> None:
    """A pending result for each client of the plan."""
    session.execute(
        insert(DeployResult),
        [
            {
                "deploy_task_id": deploy_task_id,
                "client_id": client.client_id,
                "target_id": client.target_id,
                "wave": client.wave,
            }
            for client in clients
        ],
    )


def _write(
    session: Session,
    draft: Draft,
    request: DeployTaskRequest,
    *,
    now: datetime,
    who: str,
    request_key: str | None,
) -> DeployTask:
    task = DeployTask(
        project_id=draft.project_id,
        version_id=draft.version_id,
        version=draft.version,
        operation=draft.operation,
        environment=draft.environment,
        request=request,
        request_key=request_key,
        selected_from_version=draft.selected_from_version,
        skipped=draft.skipped,
        strategy=draft.strategy,
        failure_strategy=request.failure_strategy,
        plan=draft.plan,
        status="scheduled" if request.schedule_type == "scheduled" else "pending",
        created_by=request.created_by or who,
        creator=who,
        created_at=now,
        updated_at=now,
    )
    session.add(task)
    session.flush()
    write_results(session, task.id, draft.plan.clients)
    append_audit(
        session,
        now=now,
        who=who,
        action="deploy_task.create",
        subject=f"{draft.operation} {draft.project_name} {draft.version or ''} {draft.environment}",
        detail={"clients": len(draft.client_ids), "skipped": len(draft.skipped), "digest": draft.plan.digest},
        project_id=draft.project_id,
        deploy_task_id=task.id,
    )
    session.flush()
    return task
