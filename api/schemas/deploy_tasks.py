"""Deploy tasks and their results, on the wire."""

from typing import Annotated, Literal

from pydantic import Field

from agent.wire.base import Answer, ClientId, Request, Text, UtcDatetime
from api.schemas.base import Resource
from db.documents.deploy_request import NamingOverride, Selector
from db.documents.evidence import Evidence
from db.documents.hold import HoldState
from db.documents.plan import Plan, Skipped
from db.documents.rollback import RollbackState
from db.documents.strategy import Strategy
from db.documents.usage import ClientUsage

TaskStatus = Literal[
    "pending",
    "scheduled",
    "running",
    "canary",
    "paused",
    "completed",
    "failed",
    "cancelled",
    "rolling_back",
    "rolled_back",
]
ResultStatus = Literal[
    "pending", "running", "success", "failed", "unreachable", "skipped", "rolled_back", "unknown"
]


class StartRequest(Request):
    """`replan: true`: where the fleet changed since the deploy task was made, select and plan anew."""

    replan: bool = False


class StartAnswer(Answer):
    """The flow run that does it. `warning` says why it may not begin soon."""

    flow_run_id: str
    flow_run_url: str
    warning: str | None = None


class Comment(Request):
    """Why: for the audit trail."""

    comment: Annotated[Text, Field(max_length=1000)] = ""


class CancelRequest(Comment):
    """What becomes of scripts that are running now; and why."""

    running: Literal["finish", "kill"] = "finish"


class RetryRequest(Request):
    """Whom to try again; without either: who failed, was unreachable or skipped."""

    client_ids: Annotated[tuple[ClientId, ...], Field(min_length=1, max_length=100_000)] | None = None
    statuses: (
        Annotated[
            tuple[Literal["failed", "unreachable", "skipped", "unknown"], ...],
            Field(min_length=1, max_length=4),
        ]
        | None
    ) = None


class ResultAnswer(Answer):
    """What became of one client. `usage`: what its processes used before and after. `rollback`: how it was taken back to the version that it had."""

    client_id: str
    status: str
    is_canary: bool = False
    wave: int
    attempt: int
    started_at: UtcDatetime | None
    finished_at: UtcDatetime | None
    duration_ms: int | None
    exit_code: int | None
    error: str | None
    execution_id: str | None
    container_id: str | None = None
    container_name: str | None = None
    evidence: Evidence | None
    usage: ClientUsage | None = None
    rollback: RollbackState | None = None


class ResultWithOutput(ResultAnswer):
    """What became of one client, with the end of its script's output."""

    output: str | None


class LogAnswer(Answer):
    """A slice of the running script's own output from `offset` (bytes); `complete`: nothing more will come."""

    output: str
    next_offset: int
    complete: bool


class DeployTaskSummary(Resource):
    """A deploy task in a list. The counts are of its clients; `failed_count` includes the unreachable.

    `hold`: what its run waits for now. `paused_by`: who wants no further client to be started.
    """

    project_id: str
    version_id: str | None
    version: str | None
    operation: str
    environment: str | None
    status: str
    status_reason: str | None
    selected_from_version: str | None
    exclude_client_ids: tuple[str, ...]
    selector: Selector | None
    source_version: str | None
    auto_select_clients: bool
    include_failed: bool
    allow_downgrade: bool
    redeploy: bool
    skipped: tuple[Skipped, ...]
    strategy: Strategy
    failure_strategy: str
    auto_rollback: str
    schedule_type: str
    schedule_from: UtcDatetime | None
    schedule_to: UtcDatetime | None
    approved_by: str | None
    paused_by: str | None
    promoted_waves: int
    hold: HoldState | None
    detach_process: bool
    detach_method: str | None
    timeout_s: int | None
    env: dict[str, str]
    container_naming: NamingOverride | None
    keep_previous: int | None
    created_by: str | None
    total_count: int
    success_count: int
    failed_count: int
    pending_count: int
    running_count: int
    skipped_count: int
    unknown_count: int
    rolled_back_count: int
    unreachable_count: int
    flow_run_id: str | None
    started_at: UtcDatetime | None
    finished_at: UtcDatetime | None


class DeployTaskAnswer(DeployTaskSummary):
    """A deploy task with its plan, and its results without their output."""

    client_ids: tuple[str, ...]
    plan: Plan
    results: tuple[ResultAnswer, ...]
