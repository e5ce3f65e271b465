"""Versions, on the wire."""

from typing import Annotated, Literal

from pydantic import Field

from agent.wire.base import AbsolutePath, EnvironmentVariables, Request, Script, Text, UserName, VersionName
from agent.wire.containers import DeployConfig
from agent.wire.executions import DetachMethod
from agent.wire.processes import ProcessConfig
from api.schemas.base import Description, Resource, unset
from db.documents.evidence import EvidenceConfig

VersionStatus = Literal["draft", "active", "deprecated"]
Timeout = Annotated[int, Field(strict=True, ge=1, le=86_400, description="Seconds.")]
Reference = Annotated[Text, Field(min_length=1, max_length=100)]


class VersionCreate(Request):
    """A version of a project: its scripts or its container, what to watch, what proves it.

    Of a script project: `work_dir`, and with `evidence.source: processes` (the default) a rule in `process_config` or a
    check in `evidence`. Of a container project: `deploy_config`, and nothing that only scripts have. Of a Kubernetes
    project: `deploy_config` with the image, and nothing else that its Deployment has.
    """

    project_id: Reference = Field(description="The project's id, or its name.", examples=["shop"])
    version: VersionName = Field(examples=["1.5.0"])
    description: Description | None = None
    status: VersionStatus = Field("draft", description="Only an active version is deployed.")
    work_dir: AbsolutePath | None = Field(
        None, description="Where the scripts run; made when missing.", examples=["/srv/shop"]
    )
    install_script: Script | None = None
    update_script: Script | None = None
    rollback_script: Script | None = None
    uninstall_script: Script | None = None
    timeout_s: Timeout = 900
    interpreter: AbsolutePath = "/bin/bash"
    run_as: UserName | None = None
    env: EnvironmentVariables = Field(default_factory=dict)
    detach_method: DetachMethod | None = None
    deploy_config: DeployConfig | None = Field(
        None, description="A container project's container; a Kubernetes project's image."
    )
    process_config: ProcessConfig = Field(default_factory=ProcessConfig)
    evidence: EvidenceConfig = Field(default_factory=EvidenceConfig)


class VersionChange(Request):
    """What is sent is changed. Scripts and `deploy_config` don't change once a deploy task used them (409)."""

    description: Description | None = None
    status: VersionStatus = Field(default_factory=unset)
    work_dir: AbsolutePath = Field(default_factory=unset)
    install_script: Script | None = None
    update_script: Script | None = None
    rollback_script: Script | None = None
    uninstall_script: Script | None = None
    timeout_s: Timeout = Field(default_factory=unset)
    interpreter: AbsolutePath = Field(default_factory=unset)
    run_as: UserName | None = None
    env: EnvironmentVariables = Field(default_factory=unset)
    detach_method: DetachMethod | None = None
    deploy_config: DeployConfig = Field(default_factory=unset)
    process_config: ProcessConfig = Field(default_factory=unset)
    evidence: EvidenceConfig = Field(default_factory=unset)


class VersionAnswer(Resource):
    """A version."""

    project_id: str
    version: str
    description: str | None
    status: str
    work_dir: str | None
    install_script: str | None
    update_script: str | None
    rollback_script: str | None
    uninstall_script: str | None
    timeout_s: int
    interpreter: str
    run_as: str | None
    env: dict[str, str]
    detach_method: str | None
    deploy_config: DeployConfig | None
    process_config: ProcessConfig
    evidence: EvidenceConfig
