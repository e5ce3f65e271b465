"""The form that an upgrade is started with in Prefect's UI: flat, typed, with defaults."""

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.wire.executions import DetachMethod, Operation
from db.documents.deploy_request import DeployTaskRequest
from db.documents.strategy import AutoRollback, FailureStrategy, OfflinePolicy
from tasks.errors import PlanningError


class UpgradeForm(BaseModel):
    """What an operator fills in; an empty field means "as usual". `strategy` fields left empty are the project's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    project: str = Field(default="", title="Project", description="Its name or id.")
    version: str = Field(default="", title="Version", description="The version to reach; it must be active.")
    operation: Operation = Field(default="deploy", title="Operation")
    environment: str = Field(
        default="",
        title="Environment",
        description='Needed where the project has several; "*" for all of them.',
    )
    source_version: str = Field(
        default="",
        title="From version",
        description="Only clients that have this version now, of those named too.",
    )
    clients: str = Field(
        default="", title="Clients", description="Their ids, with commas; empty: all that have the project."
    )
    exclude: str = Field(default="", title="Except", description="Client ids to leave out, with commas.")
    waves: str = Field(
        default="", title="Waves", description='Counts or shares, with commas: "1, 25%, 100%" (the default).'
    )
    max_parallel: int | None = Field(default=None, title="At the same time", description="25 by default.")
    max_failures: str = Field(
        default="",
        title="Failures allowed",
        description='A count or a share; exceeded, it stops. "0" by default.',
    )
    max_failures_per_wave: str = Field(
        default="", title="Failures allowed in a wave", description="Likewise, of the wave's clients."
    )
    canary_percent: int | None = Field(
        default=None, title="Canary (percent)", description="A first wave that is watched before the others."
    )
    canary_duration_s: float | None = Field(default=None, title="Watch the canary for (seconds)")
    canary_auto_promote: bool = Field(default=False, title="Promote the canary by itself if it holds")
    pause_after: str = Field(
        default="", title="Ask after waves", description='Their numbers, with commas: "1, 2".'
    )
    spread_by: str = Field(
        default="", title="Spread by label", description="Clients that share its value are never in one wave."
    )
    regression_percent: int | None = Field(
        default=None,
        title="Stop when it uses more (percent)",
        description="More CPU or memory than before, on at least three clients. 50 by default, 0: never.",
    )
    offline: OfflinePolicy | Literal[""] = Field(
        default="", title="Clients that are offline", description="fail by default."
    )
    auto_rollback: AutoRollback = Field(default="off", title="Take back by itself")
    stable_for_s: float | None = Field(
        default=None, title="Stable for (seconds)", description="30 by default."
    )
    health_timeout_s: float | None = Field(
        default=None, title="Healthy within (seconds)", description="300 by default."
    )
    failure_strategy: FailureStrategy = Field(default="abort", title="When too many fail")
    include_failed: bool = Field(default=False, title="Also clients whose last attempt failed")
    allow_downgrade: bool = Field(default=False, title="Also clients that have a newer version")
    redeploy: bool = Field(default=False, title="Also clients that have the version already")
    schedule_from: datetime | None = Field(
        default=None,
        title="Start at",
        description="By itself, at this time (UTC where no zone is said). Empty: now.",
    )
    schedule_to: datetime | None = Field(default=None, title="Begin no wave after")
    timeout_s: int | None = Field(default=None, title="Script timeout (seconds)")
    detach_method: DetachMethod | Literal[""] = Field(default="", title="Detach method")
    container_prefix: str = Field(
        default="", title="Container prefix", description="Where it isn't to be the project's."
    )
    container_template: str = Field(
        default="", title="Container name template", description="For example ${PREFIX}-${ENV}-${INDEX}."
    )


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _count_or_share(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() else text


def _threshold(text: str) -> int | str | None:
    return _count_or_share(text.strip()) if text.strip() else None


def _strategy_of(form: UpgradeForm) -> dict[str, Any] | None:
    given: dict[str, Any] = {
        "waves": [_count_or_share(part) for part in _listed(form.waves)] or None,
        "max_parallel": form.max_parallel,
        "max_failures": _threshold(form.max_failures),
        "max_failures_per_wave": _threshold(form.max_failures_per_wave),
        "canary_percent": form.canary_percent,
        "canary_duration_s": form.canary_duration_s,
        "canary_auto_promote": form.canary_auto_promote or None,
        "pause_after": [_count_or_share(part) for part in _listed(form.pause_after)] or None,
        "spread_by": form.spread_by.strip() or None,
        "regression_percent": form.regression_percent,
        "offline": form.offline or None,
        "stable_for_s": form.stable_for_s,
        "health_timeout_s": form.health_timeout_s,
    }
    return {name: value for name, value in given.items() if value is not None} or None


def _in_utc(time: datetime | None) -> datetime | None:
    """What Prefect's page sends has no zone where the operator chose none."""
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time


def starts_later(form: UpgradeForm, now: datetime) -> datetime | None:
    """When it is to start, where that is not now."""
    time = _in_utc(form.schedule_from)
    return time if time is not None and time > now else None


def _naming_of(form: UpgradeForm) -> dict[str, str] | None:
    given = {"prefix": form.container_prefix.strip(), "template": form.container_template.strip()}
    return {name: value for name, value in given.items() if value} or None


def parse_form(form: UpgradeForm | dict[str, Any]) -> UpgradeForm:
    """The form, checked. Raises PlanningError, in one line, naming each field that is wrong."""
    if isinstance(form, UpgradeForm):
        return form
    if not isinstance(form, dict):
        raise PlanningError("cannot read the request: it is not a form")
    try:
        return UpgradeForm.model_validate(form)
    except ValidationError as error:
        raise PlanningError(f"cannot read the request: {one_line(error)}") from None


def check_parameters(deploy_task_id: Any, request: Any) -> UpgradeForm | None:
    """The form, or None where a deploy task is named. Raises PlanningError unless there is exactly one of the two."""
    if (deploy_task_id is None) == (request is None):
        raise PlanningError("cannot start: give either deploy_task_id or request, and not both")
    if deploy_task_id is not None and not isinstance(deploy_task_id, str):
        raise PlanningError("cannot start: deploy_task_id is not text")
    return None if request is None else parse_form(request)


def request_of(form: UpgradeForm, created_by: str) -> DeployTaskRequest:
    """What the form asks for, as the release API would take it. Raises PlanningError, in one line."""
    if not form.project.strip():
        raise PlanningError("cannot read the request: project: is needed", field="project")
    clients = _listed(form.clients)
    asked: dict[str, Any] = {
        "project_id": form.project.strip(),
        "version": form.version.strip() or None,
        "operation": form.operation,
        "environment": form.environment.strip() or None,
        "source_version": form.source_version.strip() or None,
        "client_ids": clients or None,
        "auto_select_clients": not clients,
        "exclude_client_ids": _listed(form.exclude),
        "strategy": _strategy_of(form),
        "failure_strategy": form.failure_strategy,
        "auto_rollback": form.auto_rollback,
        "include_failed": form.include_failed,
        "allow_downgrade": form.allow_downgrade,
        "redeploy": form.redeploy,
        "schedule_type": "scheduled" if form.schedule_from is not None else "immediate",
        "schedule_from": _in_utc(form.schedule_from),
        "schedule_to": _in_utc(form.schedule_to),
        "timeout_s": form.timeout_s,
        "detach_method": form.detach_method or None,
        "container_naming": _naming_of(form),
        "created_by": created_by,
    }
    try:
        return DeployTaskRequest.model_validate(asked)
    except ValidationError as error:
        raise PlanningError(f"cannot read the request: {one_line(error)}") from None


_SPOKEN = {
    "client_ids": "clients",
    "exclude_client_ids": "exclude",
    "project_id": "project",
    "prefix": "container_prefix",
    "template": "container_template",
}


def one_line(error: ValidationError) -> str:
    """`waves: a share is written "1%" to "100%"; version: …`: fields by the form's names, no value echoed."""
    said: dict[str, str] = {}
    for problem in error.errors(include_input=False, include_url=False):
        place = [part for part in problem["loc"] if isinstance(part, str)]
        names = [part for part in place if part in UpgradeForm.model_fields or part in _SPOKEN]
        name = _SPOKEN.get(names[-1], names[-1]) if names else (place[0] if place else "")
        message = problem["msg"].removeprefix("Value error, ")
        said.setdefault(name, message)
    return "; ".join(f"{name}: {message}" if name else message for name, message in said.items())
