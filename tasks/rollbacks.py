"""How a client that is taken back is written down: beside its result, and in its installation."""

from datetime import datetime

from sqlalchemy.orm import Session

from agent.wire.executions import Operation
from db.documents.rollback import RollbackState
from tasks.outcomes import MAX_ERROR_CHARS, Book, Outcome, clean, result_of, update_installation
from tasks.work import ClientWork


def begin_rollback(
    session: Session,
    deploy_task_id: str,
    work: ClientWork,
    *,
    attempt: int,  # noqa: ARG001 (a Beginning's)
    execution_id: str,
    now: datetime,
) -> None:
    """Write it down before its request is sent. The same again keeps its start."""
    row = result_of(session, deploy_task_id, work.client_id)
    before = row.rollback
    if before is None or before.execution_id != execution_id:
        row.rollback = RollbackState(
            status="running",
            execution_id=execution_id,
            to_version=work.to_version,
            started_at=now,
            tries=before.tries if before else 1,
        )


def record_rollback(
    session: Session,
    deploy_task_id: str,
    operation: Operation,
    work: ClientWork,
    outcome: Outcome,
    *,
    now: datetime,
) -> None:
    """The client is `rolled_back`, or it is `failed` (nobody knows: `unknown`), and why is said; in the caller's transaction."""
    row = result_of(session, deploy_task_id, work.client_id)
    before = row.rollback
    if outcome.status == "skipped":
        row.rollback = _before_this_try(before)  # it was not started: it has what it had
        return
    row.rollback = RollbackState(
        status=outcome.status,
        execution_id=before.execution_id if before else "",
        to_version=work.to_version,
        started_at=before.started_at if before else now,
        finished_at=now,
        exit_code=outcome.exit_code,
        error=clean(outcome.error),
        evidence=outcome.evidence,
        tries=before.tries if before else 1,
    )
    if outcome.succeeded:
        row.status = "rolled_back"
    else:
        row.status = "unknown" if outcome.status == "unknown" else "failed"
        row.error = _with(row.error, f"cannot take it back to {work.to_version}: {outcome.error}")
    if outcome.container is not None:
        row.container_id = outcome.container.container_id
        row.container_name = outcome.container.container_name
    row.finished_at = now
    if outcome.ran:
        update_installation(session, deploy_task_id, operation, work, outcome, now=now)


def _with(error: str | None, said: str) -> str:
    """What was said of the client before, and this, once: a repeat says nothing new."""
    said = clean(said) or ""
    if error is None or error.endswith(said):
        return (error or said)[:MAX_ERROR_CHARS]
    return f"{error}; {said}"[:MAX_ERROR_CHARS]


def put_off_rollback(session: Session, deploy_task_id: str, work: ClientWork, execution_id: str) -> None:
    """As it was before this try. Nothing where it is that already."""
    row = result_of(session, deploy_task_id, work.client_id)
    state = row.rollback
    if state is not None and state.status == "running" and state.execution_id == execution_id:
        row.rollback = _before_this_try(state)


def _before_this_try(state: RollbackState | None) -> RollbackState | None:
    if state is None or state.tries == 1:
        return None
    return state.model_copy(update={"status": "pending", "execution_id": ""})


ROLLBACKS = Book(begin_rollback, record_rollback, put_off_rollback)
