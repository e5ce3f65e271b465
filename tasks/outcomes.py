"""What became of a client, and how that is written down: its result, its installation and the history, at once."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.wire.executions import DeployedContainer, Execution, Operation
from db.documents.evidence import Evidence
from db.documents.usage import ClientUsage, Usage
from db.models import DeployResult, DeployTask, Target
from db.queries.installations import record_failure, record_success, record_uninstalled
from tasks.usage import usage_before
from tasks.work import ClientWork

MAX_ERROR_CHARS = 2000
SHOWN_LINES = 40

OutcomeStatus = Literal["success", "failed", "unreachable", "unknown", "skipped"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one client's attempt ended. `ran` is False where its script certainly never started; `usage`: what it uses now."""

    status: OutcomeStatus
    error: str | None = None
    ran: bool = True
    exit_code: int | None = None
    output: str | None = field(default=None, repr=False)
    evidence: Evidence | None = None
    container: DeployedContainer | None = None
    usage: Usage | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the client has the version now, proven."""
        return self.status == "success"


def last_lines(output: str, count: int = SHOWN_LINES) -> str:
    """The end of a script's output: what its task run's log shows."""
    return "\n".join(output.rstrip().splitlines()[-count:])


def failed_execution(execution: Execution, noun: str) -> Outcome:
    """An execution that ended without success; `noun`: what was executed, see tasks/recipes.py."""
    ran = not _never_started(execution)
    said = {
        "failed": f"the {noun} exited {execution.exit_code}" if ran else f"the {noun} was not started",
        "succeeded": f"the {noun} exited {execution.exit_code}",
        "timed_out": f"the {noun} ran into its timeout and was ended",
        "cancelled": f"the {noun} was cancelled",
        "lost": f"nobody knows how the {noun} ended: its wrapper is gone, or the host rebooted",
    }.get(execution.state.value, f"the {noun} ended {execution.state.value}")
    if execution.error and (noun != "script" or execution.error.startswith(said)):
        said = execution.error  # tells the whole story itself: what failed, and what serves now
    elif execution.error and execution.error not in said:
        said = f"{said}: {execution.error}"
    return Outcome(
        status="unknown" if execution.state == "lost" else "failed",
        error=said[:MAX_ERROR_CHARS],
        exit_code=execution.exit_code,
        output=execution.output_tail,
        container=execution.container,
        ran=ran,
    )


def _never_started(execution: Execution) -> bool:
    """The agent died between writing it down and starting it, or the start was refused: nothing ran.

    What ran and failed has an exit code, a deployment too; without one it is lost, see agent/executions. `started_at`
    tells nothing: it is when the wrapper's place was taken, so that it never starts.
    """
    return execution.state == "failed" and execution.exit_code is None


class Beginning(Protocol):
    """Writes an attempt down before its request is sent."""

    def __call__(
        self,
        session: Session,
        deploy_task_id: str,
        work: ClientWork,
        *,
        attempt: int,
        execution_id: str,
        now: datetime,
    ) -> None: ...


class Recording(Protocol):
    """Writes down what became of it."""

    def __call__(
        self,
        session: Session,
        deploy_task_id: str,
        operation: Operation,
        work: ClientWork,
        outcome: Outcome,
        *,
        now: datetime,
    ) -> None: ...


class PuttingOff(Protocol):
    """Undoes a beginning of which nothing was ever sent."""

    def __call__(
        self, session: Session, deploy_task_id: str, work: ClientWork, execution_id: str
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Book:
    """Where a run writes what it does to its clients: their results, or how they were taken back."""

    begin: Beginning
    record: Recording
    put_off: PuttingOff


def begin_attempt(
    session: Session,
    deploy_task_id: str,
    work: ClientWork,
    *,
    attempt: int,
    execution_id: str,
    now: datetime,
) -> None:
    """Write the attempt down before its request is sent. The same attempt again keeps its start."""
    row = result_of(session, deploy_task_id, work.client_id)
    if row.status != "running" or row.execution_id != execution_id:
        row.started_at, row.ran_before = now, row.ran
        project_id = session.get_one(DeployTask, deploy_task_id).project_id
        before = usage_before(session, project_id, work.client_id, work.from_version, now)
        row.usage = ClientUsage(before=before) if before is not None else None
    row.status, row.attempt, row.execution_id = "running", attempt, execution_id
    row.finished_at = row.duration_ms = row.exit_code = row.error = row.output = row.evidence = None


def put_off_attempt(session: Session, deploy_task_id: str, work: ClientWork, execution_id: str) -> None:
    """Pending again, before the same attempt. Nothing where it is that already."""
    row = result_of(session, deploy_task_id, work.client_id)
    if row.status == "running" and row.execution_id == execution_id:
        row.status, row.attempt, row.execution_id, row.started_at = "pending", row.attempt - 1, None, None


def name_container(session: Session, deploy_task_id: str, client_id: str, name: str) -> None:
    """Write down what the client's next container is to be called, before anything is started."""
    row = result_of(session, deploy_task_id, client_id)
    row.container_name, row.container_id = name, None


def record_outcome(
    session: Session,
    deploy_task_id: str,
    operation: Operation,
    work: ClientWork,
    outcome: Outcome,
    *,
    now: datetime,
) -> None:
    """The result, and what it says about the installation, in the caller's transaction."""
    row = result_of(session, deploy_task_id, work.client_id)
    row.status, row.error, row.exit_code = outcome.status, clean(outcome.error), outcome.exit_code
    row.output, row.evidence, row.ran = clean(outcome.output), outcome.evidence, outcome.ran or bool(row.ran)
    if outcome.container is not None:
        row.container_id, row.container_name = (
            outcome.container.container_id,
            outcome.container.container_name,
        )
    elif outcome.status in ("failed", "unreachable"):
        row.container_name = None  # the one that was planned: it is not there, or is another client's by now
    if row.usage is not None and outcome.usage is not None:
        row.usage = ClientUsage(before=row.usage.before, after=outcome.usage)
    row.finished_at = now
    if row.started_at is not None:
        row.duration_ms = int((now - row.started_at).total_seconds() * 1000)
    if outcome.ran:
        update_installation(session, deploy_task_id, operation, work, outcome, now=now)


def clean(text: str | None) -> str | None:
    """PostgreSQL's text takes no NUL."""
    return text.replace("\x00", "\ufffd") if text is not None else None


def result_of(session: Session, deploy_task_id: str, client_id: str) -> DeployResult:
    """The client's row."""
    return session.scalars(
        select(DeployResult).where(
            DeployResult.deploy_task_id == deploy_task_id, DeployResult.client_id == client_id
        )
    ).one()


def update_installation(
    session: Session,
    deploy_task_id: str,
    operation: Operation,
    work: ClientWork,
    outcome: Outcome,
    *,
    now: datetime,
) -> None:
    """What an outcome of something that ran says about the installation. A target that was deleted has none."""
    target_id = work.target_id
    if session.get(Target, target_id) is None:
        return
    if outcome.status == "failed":
        record_failure(
            session, target_id=target_id, now=now, deploy_task_id=deploy_task_id, evidence=outcome.evidence
        )
    elif outcome.succeeded and operation == "uninstall":
        record_uninstalled(session, target_id=target_id, now=now, deploy_task_id=deploy_task_id)
    elif outcome.succeeded:
        record_success(
            session,
            target_id=target_id,
            version=work.to_version,
            now=now,
            deploy_task_id=deploy_task_id,
            evidence=outcome.evidence,
            rolled_back=operation == "rollback",
        )


RESULTS = Book(begin_attempt, record_outcome, put_off_attempt)
