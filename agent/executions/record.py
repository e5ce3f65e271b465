"""What the journal keeps of an execution."""

import hashlib
import json
from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from agent.wire.containers import ContainerDeployRequest
from agent.wire.executions import (
    DeployedContainer,
    DeployedKubernetes,
    DetachMethod,
    ExecuteRequest,
    Execution,
    ExecutionState,
    Operation,
)
from agent.wire.pods import KubernetesDeployRequest

Command = ExecuteRequest | ContainerDeployRequest | KubernetesDeployRequest
Kind = Literal["script", "container", "kubernetes"]
_KINDS: dict[type[Command], Kind] = {
    ExecuteRequest: "script",
    ContainerDeployRequest: "container",
    KubernetesDeployRequest: "kubernetes",
}


class Record(BaseModel):
    """One execution, without its script and environment. `method` None: attached to the agent. `pid`: the script's.

    `kind`: a script's wrapper carries it out; the others the agent itself: they have no work_dir and no method.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Kind = "script"
    execution_id: str
    project_id: str
    release_id: str | None = None
    target_id: str | None = None
    operation: Operation
    version: str
    previous_version: str | None = None
    work_dir: str | None = None
    run_as: str | None = None
    timeout_s: int
    method: DetachMethod | None = None
    digest: str
    boot_id: str
    accepted_at: AwareDatetime
    state: ExecutionState = ExecutionState.QUEUED
    pid: int | None = None
    exit_code: int | None = None
    started_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None
    error: str | None = None
    output_bytes: int = 0
    container: DeployedContainer | None = None
    kubernetes: DeployedKubernetes | None = None

    @classmethod
    def of(cls, request: Command, method: DetachMethod | None, boot_id: str, now: datetime) -> "Record":
        """The record of a request as it is accepted."""
        kept = request.model_dump(include=set(cls.model_fields))
        return cls(
            **kept,
            kind=kind_of(request),
            method=method,
            digest=digest_of(request),
            boot_id=boot_id,
            accepted_at=now,
        )

    def lost(self, error: Exception, now: datetime) -> "Record":
        """The record as it ends where the agent itself can't follow it any more, because of `error`."""
        said = f"the agent cannot tell how it ended: {type(error).__name__}: {error}"[:1000]
        return self.model_copy(update={"state": ExecutionState.LOST, "finished_at": now, "error": said})

    def execution(self, output_tail: str = "") -> Execution:
        """The record as the wire has it."""
        duration = None
        if self.started_at is not None and self.finished_at is not None:
            duration = max(0, round((self.finished_at - self.started_at).total_seconds() * 1000))
        return Execution(
            execution_id=self.execution_id,
            project_id=self.project_id,
            state=self.state,
            pid=self.pid,
            exit_code=self.exit_code,
            started_at=self.started_at,
            finished_at=self.finished_at,
            duration_ms=duration,
            output_tail=output_tail,
            output_bytes=self.output_bytes,
            error=self.error,
            detach_method=self.method,
            container=self.container,
            kubernetes=self.kubernetes,
        )


def kind_of(request: Command) -> Kind:
    """By which way it is carried out."""
    return _KINDS[type(request)]


def digest_of(request: Command) -> str:
    """What makes two requests the same: everything but who asks under which lease, and a registry's credentials."""
    content = request.model_dump(mode="json", exclude={"client_id", "fence", "registry_auth"})
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
