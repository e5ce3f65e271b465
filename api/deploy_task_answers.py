"""Deploy tasks and their results, from rows to the wire."""

from typing import Any

from sqlalchemy.orm import Session

from api.schemas.deploy_tasks import DeployTaskAnswer, DeployTaskSummary, ResultAnswer, ResultWithOutput
from db.documents.strategy import Strategy
from db.models import DeployResult, DeployTask
from db.queries.deploy_tasks import Counts, counts_of, list_results
from tasks.planning.steering import is_approved

_OF_ROW = (
    "id",
    "created_at",
    "updated_at",
    "project_id",
    "version_id",
    "version",
    "operation",
    "environment",
    "status",
    "status_reason",
    "selected_from_version",
    "skipped",
    "strategy",
    "failure_strategy",
    "created_by",
    "flow_run_id",
    "paused_by",
    "promoted_waves",
    "hold",
    "started_at",
    "finished_at",
)
_OF_REQUEST = (
    "exclude_client_ids",
    "selector",
    "source_version",
    "auto_select_clients",
    "include_failed",
    "allow_downgrade",
    "redeploy",
    "auto_rollback",
    "schedule_type",
    "schedule_from",
    "schedule_to",
    "detach_process",
    "detach_method",
    "timeout_s",
    "env",
    "container_naming",
    "keep_previous",
)
_COUNTED = (
    "total",
    "success",
    "failed",
    "pending",
    "running",
    "skipped",
    "unknown",
    "rolled_back",
    "unreachable",
)


def summary(task: DeployTask, counts: Counts) -> DeployTaskSummary:
    """As it stands in a list."""
    return DeployTaskSummary(**_fields(task, counts))


def whole(session: Session, task: DeployTask) -> DeployTaskAnswer:
    """With its plan and its results."""
    results = tuple(result_answer(row, task.strategy) for row in list_results(session, task.id, limit=None))
    return DeployTaskAnswer(
        **_fields(task, counts_of(session, task.id)),
        client_ids=tuple(client.client_id for client in task.plan.clients),
        plan=task.plan,
        results=results,
    )


def result_answer(row: DeployResult, strategy: Strategy) -> ResultAnswer:
    """One client's result, without its output."""
    return ResultAnswer(**_result_fields(row, strategy))


def result_with_output(row: DeployResult, strategy: Strategy) -> ResultWithOutput:
    """One client's result, with its output."""
    return ResultWithOutput(**_result_fields(row, strategy), output=row.output)


def _fields(task: DeployTask, counts: Counts) -> dict[str, Any]:
    of_row = {name: getattr(task, name) for name in _OF_ROW}
    of_request = {name: getattr(task.request, name) for name in _OF_REQUEST}
    counted = {f"{name}_count": getattr(counts, name) for name in _COUNTED}
    return {**of_row, **of_request, **counted, "approved_by": task.approved_by if is_approved(task) else None}


def _result_fields(row: DeployResult, strategy: Strategy) -> dict[str, Any]:
    of_row = {name: getattr(row, name) for name in ResultAnswer.model_fields if name != "is_canary"}
    return {**of_row, "is_canary": row.wave == 0 and strategy.canary_percent is not None}
