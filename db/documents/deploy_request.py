"""What is asked of a new deploy task: POST /release/tasks and the flow's `request` take the same document."""

from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, model_validator

from agent.wire.base import (
    ClientId,
    EnvironmentVariables,
    Labels,
    Request,
    Text,
    UtcDatetime,
    VersionName,
)
from agent.wire.executions import DetachMethod, Operation
from agent.wire.naming import Prefix, Template
from db.documents.strategy import AutoRollback, FailureStrategy, Strategy


class Selector(Request):
    """Clients whose labels have all of these."""

    labels: Annotated[Labels, Field(min_length=1)]


class NamingOverride(Request):
    """How this deployment's containers are called, where it isn't as the project says."""

    prefix: Prefix | None = None
    template: Template | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.prefix is None and self.template is None:
            raise ValueError("give prefix, template, or both")
        return self


class DeployTaskRequest(Request):
    """Bring clients of a project to a version. `schedule_from`, `schedule_to`: no wave is begun before or after.

    `redeploy`: clients that have the version already take part, too.
    """

    project_id: Annotated[Text, Field(min_length=1, max_length=100)]
    version_id: Annotated[Text, Field(min_length=1, max_length=100)] | None = None
    version: VersionName | None = None
    operation: Operation = "deploy"
    client_ids: Annotated[tuple[ClientId, ...], Field(min_length=1, max_length=100_000)] | None = None
    exclude_client_ids: Annotated[tuple[ClientId, ...], Field(max_length=100_000)] = ()
    selector: Selector | None = None
    environment: Annotated[Text, Field(min_length=1, max_length=100)] | None = None
    source_version: VersionName | None = None
    auto_select_clients: StrictBool = False
    include_failed: StrictBool = False
    allow_downgrade: StrictBool = False
    redeploy: StrictBool = False
    strategy: Strategy | None = None
    failure_strategy: FailureStrategy = "abort"
    auto_rollback: AutoRollback = "off"
    schedule_type: Literal["immediate", "scheduled"] = "immediate"
    schedule_from: UtcDatetime | None = None
    schedule_to: UtcDatetime | None = None
    detach_process: StrictBool = True
    detach_method: DetachMethod | None = None
    timeout_s: Annotated[int, Field(strict=True, ge=1, le=86_400)] | None = None
    env: EnvironmentVariables = Field(default_factory=dict)
    container_naming: NamingOverride | None = None
    keep_previous: Annotated[int, Field(strict=True, ge=0, le=10)] | None = None
    created_by: Annotated[Text, Field(max_length=200)] | None = None

    @model_validator(mode="after")
    def _says_whom(self) -> Self:
        if self.client_ids is None and not self.auto_select_clients and self.selector is None:
            raise ValueError("name clients: client_ids, selector, or auto_select_clients: true")
        if self.client_ids is not None and self.auto_select_clients:
            raise ValueError("client_ids and auto_select_clients exclude each other")
        if not self.detach_process and self.detach_method is not None:
            raise ValueError("detach_method needs detach_process: true")
        return self

    @model_validator(mode="after")
    def _says_when(self) -> Self:
        if self.schedule_type == "scheduled" and self.schedule_from is None:
            raise ValueError("schedule_type scheduled needs schedule_from")
        if self.schedule_type == "immediate" and self.schedule_from is not None:
            raise ValueError("schedule_from needs schedule_type: scheduled")
        if self.schedule_from and self.schedule_to and self.schedule_to <= self.schedule_from:
            raise ValueError("schedule_to has to be after schedule_from")
        return self

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        if self.version is not None and self.version_id is not None:
            raise ValueError("version and version_id exclude each other")
        if (
            self.version is None
            and self.version_id is None
            and self.operation not in ("rollback", "uninstall")
        ):
            raise ValueError(f"operation {self.operation!r} needs a version or a version_id")
        return self
