"""Pods on the wire: what runs in a cluster, how a Deployment is brought to a version, and the reports of pods."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from agent.wire.base import (
    Answer,
    ClientId,
    Dropped,
    MutatingRequest,
    OpaqueId,
    Request,
    Text,
    UtcDatetime,
    VersionName,
    check_no_nul,
)
from agent.wire.executions import Operation

PodPhase = Literal["Pending", "Running", "Succeeded", "Failed", "Unknown"]
ContainerState = Literal["running", "waiting", "terminated"]
Namespace = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
"""A DNS-1123 label."""
ObjectName = Annotated[str, Field(max_length=253, pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
"""A DNS-1123 subdomain."""
LabelSelector = Annotated[Text, Field(min_length=1, max_length=1000)]
"""As kubectl's -l has it: `app=shop,tier in (web, api)`. The cluster judges it."""

MAX_PODS = 10_000
"""As many as an answer and a report carry."""
MAX_POD_CONTAINERS = 100
MAX_LABELS = 64

_IMAGE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,499}$")
_Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
_Reason = Annotated[str, Field(max_length=200)]


class PodContainer(Answer):
    """One container of a pod. `reason` is the state's own, such as CrashLoopBackOff, OOMKilled, ImagePullBackOff.

    `last_reason`: why it ended the time before; `exit_code`: with which status it ended, now or the time before.
    """

    name: Annotated[str, Field(max_length=253)]
    image: Annotated[str, Field(max_length=500)]
    ready: bool
    restart_count: _Count = 0
    state: ContainerState
    started_at: UtcDatetime | None = None
    reason: _Reason | None = None
    exit_code: Annotated[int, Field(ge=-(2**31), lt=2**31)] | None = None
    last_reason: _Reason | None = None


class PodInfo(Answer):
    """One pod. `reason` is what kubectl shows as its status, where that says more than the phase does.

    `restart_count` is the sum over its containers; `labels` are at most 64 of its own.
    """

    name: Annotated[str, Field(max_length=253)]
    namespace: Annotated[str, Field(max_length=63)]
    uid: Annotated[str, Field(max_length=100)]
    phase: PodPhase
    start_time: UtcDatetime | None = None
    labels: Annotated[
        dict[Annotated[str, Field(max_length=317)], Annotated[str, Field(max_length=63)]],
        Field(max_length=MAX_LABELS),
    ] = Field(default_factory=dict)
    ready: bool
    restart_count: _Count = 0
    containers: Annotated[tuple[PodContainer, ...], Field(max_length=MAX_POD_CONTAINERS)] = ()
    reason: _Reason | None = None
    host_ip: Annotated[str, Field(max_length=45)] | None = None
    pod_ip: Annotated[str, Field(max_length=45)] | None = None
    matched_project: Annotated[str, Field(max_length=200)] | None = None


class PodCollectRequest(Request):
    """Which pods: of one namespace or of all of them, with these labels or with any."""

    namespace: Namespace | None = None
    label_selector: LabelSelector | None = None


class PodReportRequest(PodCollectRequest):
    """The same, for the release API: the pods of the next report of the same selection take the place of these."""


class CollectedPods(Answer):
    """What the cluster has, by namespace and name. `kubernetes` is its version; `truncated`: there are more than 10,000."""

    kubernetes: str | None = None
    pods: tuple[PodInfo, ...] = ()
    collected_at: UtcDatetime | None = None
    truncated: bool = False


class PodReported(Answer):
    """`delivered`: the release API has it; else it waits in the spool, and `error` says why."""

    report_id: str
    delivered: bool
    error: str | None = None
    pods: tuple[PodInfo, ...] = ()


class PodReport(Answer):
    """What an agent tells the release API: POST /release/pod-report.

    `namespace` and `label_selector` say which pods it is about; `truncated`: some of them are left out.
    """

    client_id: ClientId
    pods: Annotated[tuple[PodInfo, ...], Field(max_length=MAX_PODS)]
    reported_at: UtcDatetime
    report_id: OpaqueId | None = None
    namespace: Namespace | None = None
    label_selector: LabelSelector | None = None
    truncated: bool = False
    dropped_reports: Dropped | None = None

    @model_validator(mode="after")
    def _no_nul(self) -> Self:
        check_no_nul(self)
        return self


class KubernetesConfig(Request):
    """A version's Deployment: it must be there already, and gets the image. `container` may be left out where it has one.

    `replicas` is set where it is given; else the Deployment keeps its own, or gets back those from before an uninstall.
    """

    namespace: Namespace = "default"
    deployment: ObjectName
    container: Namespace | None = None
    image: Annotated[str, Field(max_length=500)] | None = None
    replicas: Annotated[int, Field(ge=1, le=10_000)] | None = None

    @field_validator("image")
    @classmethod
    def _is_reference(cls, image: str | None) -> str | None:
        if image is not None and not _IMAGE.fullmatch(image):
            raise ValueError(
                "an image is a reference such as registry.example:5000/shop:1.5 or shop@sha256:…"
            )
        return image


class KubernetesDeployRequest(MutatingRequest):
    """Bring the project's Deployment to a version, once under `execution_id`; needs the feature `kubernetes`.

    install, update, deploy, rollback: set the image, and wait until the cluster says that the rollout is complete; where
    it fails, the image from before is put back. uninstall: scale to 0, which keeps the Deployment and its history.
    `progress_deadline_s` becomes the Deployment's own (progressDeadlineSeconds); None: it keeps what it has.
    """

    execution_id: OpaqueId
    project_id: OpaqueId
    version: VersionName
    kubernetes_config: KubernetesConfig
    operation: Operation = "deploy"
    release_id: OpaqueId | None = None
    target_id: OpaqueId | None = None
    previous_version: VersionName | None = None
    progress_deadline_s: Annotated[int, Field(ge=1, le=86_400)] | None = None
    timeout_s: Annotated[int, Field(ge=1, le=86_400)] = 900

    @model_validator(mode="after")
    def _has_image(self) -> Self:
        if self.kubernetes_config.image is None and self.operation != "uninstall":
            raise ValueError("kubernetes_config.image is missing")
        return self
