"""`/v1/info`: who this agent is and what it can do."""

from typing import Literal

from pydantic import field_validator

from agent.wire.base import WIRE_VERSION, Answer, UtcDatetime
from agent.wire.executions import DetachMethod

Feature = Literal[
    "evidence_checks",
    "process_identity",
    "monitor_probe",
    "monitor_containers",
    "monitor_pods",
    "check_run_as",
    "cancel_project",
    "containers",
    "kubernetes",
]

FEATURES: tuple[Feature, ...] = (
    "evidence_checks",
    "process_identity",
    "monitor_probe",
    "monitor_containers",
    "monitor_pods",
    "check_run_as",
    "cancel_project",
    "containers",
    "kubernetes",
)
"""Optional parts of the wire that this agent has: a caller sends such a field only where its feature is listed.

evidence_checks: `release.check` takes `checks`. process_identity: processes carry `start_ticks`, `ppid`, `is_root`.
monitor_probe: a monitor takes `version_probe`, `work_dir` and `run_as`. monitor_containers: it takes `containers`; monitor_pods: `pods`.
check_run_as: `release.check` takes `run_as`. cancel_project: a cancel takes `project_id`.
containers: the `container.…` commands. kubernetes: `pod.…` and `kubernetes.deploy`;
`AgentInfo.kubernetes` says whether there is a cluster behind them.
"""


class AgentInfo(Answer):
    """What the caller needs to know before it asks for anything. `docker_version`, `kubernetes`: their versions, or null.

    `free_bytes`: what an execution may still write to the agent's state directory; below `min_free_bytes` none is started.
    """

    client_id: str
    agent_version: str
    wire_version: int = WIRE_VERSION
    features: tuple[str, ...] = ()
    hostname: str
    boot_id: str
    started_at: UtcDatetime
    detach_methods: tuple[DetachMethod, ...]
    docker_version: str | None = None
    kubernetes: str | None = None
    free_bytes: int | None = None
    min_free_bytes: int | None = None

    @field_validator("kubernetes", mode="before")
    @classmethod
    def _of_older_agent(cls, value: object) -> object:
        """An agent from before the feature says false."""
        return None if isinstance(value, bool) else value
