"""Monitors: what an agent reports by itself, every `collect_interval`, over restarts and reboots."""

from agent.wire.base import (
    AbsolutePath,
    Answer,
    MutatingRequest,
    OpaqueId,
    UserName,
    UtcDatetime,
    VersionName,
)
from agent.wire.pods import PodCollectRequest
from agent.wire.processes import ProcessConfig
from agent.wire.releases import VersionProbe


class PutMonitor(MutatingRequest):
    """Watch a project's processes. The probe and what it needs want the feature `monitor_probe`.

    `containers` (feature `monitor_containers`): the host's containers are reported too, all of them, at the smallest
    interval of the monitors that ask for it. `pods` (feature `monitor_pods`): these of the cluster's pods are, likewise.
    Without rules and probe no processes are reported then.
    """

    version: VersionName
    release_id: OpaqueId
    process_config: ProcessConfig
    version_probe: VersionProbe | None = None
    work_dir: AbsolutePath | None = None
    run_as: UserName | None = None
    containers: bool = False
    pods: PodCollectRequest | None = None


class Monitor(Answer):
    """A monitor as it stands; `spooled` reports wait for the release API, `dropped` ones were given up: the spool was full, or they were refused, for good or for a day."""

    project_id: str
    version: str
    release_id: str
    process_config: ProcessConfig
    version_probe: VersionProbe | None = None
    work_dir: str | None = None
    run_as: str | None = None
    containers: bool = False
    pods: PodCollectRequest | None = None
    last_report_at: UtcDatetime | None = None
    last_error: str | None = None
    spooled: int = 0
    dropped: int = 0
