"""`release.execute` and the executions it makes: a script, run once, detached from the agent."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from agent.wire.base import (
    AbsolutePath,
    Answer,
    EnvironmentVariables,
    MutatingRequest,
    OpaqueId,
    Script,
    UserName,
    UtcDatetime,
    VersionName,
)

DetachMethod = Literal["systemd", "nohup", "setsid"]
Operation = Literal["deploy", "install", "update", "rollback", "uninstall"]

_Int32 = Annotated[int, Field(ge=-(2**31), lt=2**31)]
_Count = Annotated[int, Field(ge=0, lt=2**63)]
"""What a database's integers hold: an agent that says otherwise isn't understood."""

OUTPUT_TAIL_BYTES = 64 * 1024
"""How much of the end of an execution's output travels in the execution itself."""


class ExecutionState(StrEnum):
    """`lost`: the wrapper is gone without a status, or the host rebooted meanwhile."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    LOST = "lost"

    @property
    def ended(self) -> bool:
        """Whether nothing more will change."""
        return self not in (ExecutionState.QUEUED, ExecutionState.RUNNING)


class ExecuteRequest(MutatingRequest):
    """Run `script` once under `execution_id`; `release_id` is the deploy task."""

    execution_id: OpaqueId
    release_id: OpaqueId
    project_id: OpaqueId
    target_id: OpaqueId
    operation: Operation
    version: VersionName
    script: Annotated[Script, Field(min_length=1)]
    work_dir: AbsolutePath
    previous_version: VersionName | None = None
    env: EnvironmentVariables = Field(default_factory=dict)
    timeout_s: Annotated[int, Field(ge=1, le=86_400)] = 900
    interpreter: AbsolutePath = "/bin/bash"
    run_as: UserName | None = None
    detach_process: bool = True
    detach_method: DetachMethod | None = None


class DeployedContainer(Answer):
    """What a container deployment came to. `image_id` is the image's own digest (sha256:…).

    `replaced`: the previous container's name, stopped and kept; `gap_ms`: for how long nothing served, 0 where the new
    one was healthy before the old one was stopped. `was_there`: it served already, so nothing was changed;
    `restart_count`: how often the engine had restarted it by then.
    """

    container_id: Annotated[str, Field(max_length=64)]
    container_name: Annotated[str, Field(max_length=253)]
    image: Annotated[str, Field(max_length=500)]
    image_id: Annotated[str, Field(max_length=200)]
    replaced: Annotated[str, Field(max_length=253)] | None = None
    gap_ms: _Count = 0
    was_there: bool = False
    restart_count: _Count = 0


class DeployedKubernetes(Answer):
    """What a Kubernetes deployment came to, also where it failed. `image` is the one it was to set.

    `revision`: the Deployment's, with that image; `ready` of `replicas` pods of it are ready. `undone` after a failure:
    whether `previous_image` was put back and its rollout completed; None: there was nothing to undo.
    """

    namespace: Annotated[str, Field(max_length=63)]
    deployment: Annotated[str, Field(max_length=253)]
    container: Annotated[str, Field(max_length=63)] | None = None
    revision: _Count | None = None
    image: Annotated[str, Field(max_length=500)] | None = None
    previous_image: Annotated[str, Field(max_length=500)] | None = None
    replicas: _Count = 0
    ready: _Count = 0
    undone: bool | None = None


class Execution(Answer):
    """What became of a script, a container deployment or a Kubernetes one (`container`, `kubernetes`: what it came to).

    `output_tail` is the last 64 KiB of its output; `output_bytes` counts all that it wrote.
    """

    execution_id: str
    project_id: str
    state: ExecutionState
    pid: _Int32 | None = None
    exit_code: _Int32 | None = None
    started_at: UtcDatetime | None = None
    finished_at: UtcDatetime | None = None
    duration_ms: _Count | None = None
    output_tail: str = ""
    output_bytes: _Count = 0
    error: str | None = None
    detach_method: DetachMethod | None = None
    container: DeployedContainer | None = None
    kubernetes: DeployedKubernetes | None = None


class ExecutionLog(Answer):
    """A slice of an execution's output from `offset`, in bytes; `skipped_bytes` were punched out of the middle."""

    output: str
    next_offset: _Count
    complete: bool
    skipped_bytes: _Count = 0
