"""Containers on the wire: what runs on a host's engine, how one is deployed, and the reports of them."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from agent.wire.base import (
    AbsolutePath,
    Answer,
    ClientId,
    Dropped,
    EnvironmentVariables,
    FiniteFloat,
    MutatingRequest,
    OpaqueId,
    Request,
    Text,
    UtcDatetime,
    VersionName,
    check_no_nul,
)
from agent.wire.executions import Operation
from agent.wire.naming import ContainerNaming, Prefix

ContainerState = Literal["created", "running", "paused", "restarting", "removing", "exited", "dead"]
ContainerName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,252}$")]
Word = Annotated[Text, Field(max_length=4096)]
Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
Port = Annotated[int, Field(ge=1, le=65_535)]

MAX_CONTAINERS = 20_000
"""As many as a report may carry."""

_IMAGE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,499}$")
_VOLUME = re.compile(r"^(/.*|[A-Za-z0-9][A-Za-z0-9_.-]*)$", re.DOTALL)


class PortMapping(Request):
    """A port of the container on the host; `host_port` None: the engine chooses one."""

    container_port: Port
    host_port: Port | None = None
    host_ip: Annotated[str, Field(pattern=r"^[0-9a-fA-F.:]{2,45}$")] = "0.0.0.0"
    protocol: Literal["tcp", "udp"] = "tcp"


class VolumeMount(Request):
    """A directory of the host (absolute) or a named volume, at `target` in the container."""

    source: Annotated[Text, Field(min_length=1, max_length=4096)]
    target: AbsolutePath
    read_only: bool = False

    @field_validator("source")
    @classmethod
    def _is_path_or_name(cls, source: str) -> str:
        if not _VOLUME.fullmatch(source) or ".." in source.split("/"):
            raise ValueError("a volume's source is an absolute path without '..', or a volume's name")
        return source


class NetworkAttachment(Request):
    """A network that is there already. Its `aliases` lead to the new container once it is healthy, not before."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$")]
    aliases: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$")], ...], Field(max_length=10)
    ] = ()


class RestartPolicy(Request):
    """When the engine starts it again; `max_retries` is for on-failure alone, 0 is without end."""

    name: Literal["no", "always", "unless-stopped", "on-failure"] = "unless-stopped"
    max_retries: Annotated[int, Field(ge=0, le=1_000_000)] = 0

    @model_validator(mode="after")
    def _retries_fit(self) -> Self:
        if self.max_retries and self.name != "on-failure":
            raise ValueError("max_retries goes with on-failure alone")
        return self


class Resources(Request):
    """Limits: `cpus` in cores, `memory` in bytes (at least the engine's 6 MiB), `pids` a count; None: unlimited."""

    cpus: Annotated[FiniteFloat, Field(ge=0.01, le=10_000)] | None = None
    memory: Annotated[int, Field(ge=6 * 1024 * 1024, le=2**60)] | None = None
    pids: Annotated[int, Field(ge=1, le=2**22)] | None = None


class HealthCheck(Request):
    """How the engine asks whether the container is well: a `command` of words is run as it is, a string by /bin/sh."""

    command: (
        Annotated[tuple[Word, ...], Field(min_length=1, max_length=100)]
        | Annotated[Word, Field(min_length=1)]
    )
    interval_s: Annotated[FiniteFloat, Field(ge=0.001, le=86_400)] = 10
    timeout_s: Annotated[FiniteFloat, Field(ge=0.001, le=86_400)] = 5
    retries: Annotated[int, Field(ge=1, le=1000)] = 3
    start_period_s: Annotated[FiniteFloat, Field(ge=0, le=86_400)] = 0


class LogConfig(Request):
    """Where the container's output goes. The default is bounded: 3 files of 10 MB."""

    driver: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._/:-]{0,99}$")] = "json-file"
    options: (
        Annotated[
            dict[Annotated[Text, Field(max_length=100)], Annotated[Text, Field(max_length=1000)]],
            Field(max_length=50),
        ]
        | None
    ) = None

    def options_or_default(self) -> dict[str, str]:
        """The options, or the bound that json-file is given where none are said."""
        if self.options is not None:
            return dict(self.options)
        return {"max-size": "10m", "max-file": "3"} if self.driver == "json-file" else {}


MAX_STOP_TIMEOUT_S = 3600


class DeployConfig(Request):
    """A version's container. `registry` names a secret that the control plane keeps: credentials are never in here."""

    image: Annotated[str, Field(max_length=500)]
    pull: Literal["always", "if_not_present", "never"] = "if_not_present"
    env: EnvironmentVariables = Field(default_factory=dict)
    ports: Annotated[tuple[PortMapping, ...], Field(max_length=100)] = ()
    volumes: Annotated[tuple[VolumeMount, ...], Field(max_length=100)] = ()
    networks: Annotated[tuple[NetworkAttachment, ...], Field(max_length=20)] = ()
    restart_policy: RestartPolicy = Field(default_factory=RestartPolicy)
    resources: Resources = Field(default_factory=Resources)
    user: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,100}$")] | None = None
    command: Annotated[tuple[Word, ...], Field(max_length=1000)] | None = None
    entrypoint: Annotated[tuple[Word, ...], Field(max_length=1000)] | None = None
    health_check: HealthCheck | None = None
    log: LogConfig = Field(default_factory=LogConfig)
    registry: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,98}[a-z0-9])?$")] | None = None
    stop_timeout_s: Annotated[int, Field(ge=0, le=MAX_STOP_TIMEOUT_S)] = 10

    @field_validator("image")
    @classmethod
    def _is_reference(cls, image: str) -> str:
        if not _IMAGE.fullmatch(image):
            raise ValueError(
                "an image is a reference such as registry.example:5000/shop:1.5 or shop@sha256:…"
            )
        return image

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [network.name for network in self.networks]
        if len(set(names)) != len(names):
            raise ValueError("networks must be named once each")
        if {"host", "none"} & set(names) and (len(names) > 1 or self.networks[0].aliases):
            raise ValueError("the networks host and none stand alone, without aliases")
        if {"host", "none"} & set(names) and self.ports:
            raise ValueError("the networks host and none publish no ports")
        if any(network.name == "bridge" and network.aliases for network in self.networks):
            raise ValueError("the engine gives no aliases on its default network bridge: use one of your own")
        return self


class RegistryAuth(Request):
    """Credentials for a registry. They travel to the agent alone, and are never in a log, a report or an answer.

    `server`: the only registry that they are for, as images name it ("registry.example:5000"); None: whichever it is.
    """

    username: Annotated[Text, Field(min_length=1, max_length=500)] = Field(repr=False)
    password: Annotated[Text, Field(min_length=1, max_length=16 * 1024)] = Field(repr=False)
    server: Annotated[Text, Field(max_length=500)] | None = None


class ContainerDeployRequest(MutatingRequest):
    """Bring the project's container on this host to a version, once under `execution_id`; needs the feature `containers`.

    install, update, deploy: start the new one, wait until it is healthy, stop the previous one and keep it. rollback:
    the same, with the kept container of that version where it is there. uninstall: stop and remove all of the project's.
    `name` is tried first; where it is taken, `naming` gives the next one. A container without a health check is healthy
    once it ran `stable_for_s` seconds without a restart.
    """

    execution_id: OpaqueId
    project_id: OpaqueId
    version: VersionName
    deploy_config: DeployConfig
    operation: Operation = "deploy"
    name: ContainerName | None = None
    naming: ContainerNaming | None = None
    environment: Annotated[Text, Field(min_length=1, max_length=100)] | None = None
    release_id: OpaqueId | None = None
    target_id: OpaqueId | None = None
    previous_version: VersionName | None = None
    keep_previous: Annotated[int, Field(ge=0, le=10)] = 1
    stable_for_s: Annotated[FiniteFloat, Field(ge=0, le=3600)] = 10
    timeout_s: Annotated[int, Field(ge=1, le=86_400)] = 900
    registry_auth: RegistryAuth | None = Field(None, repr=False)

    @model_validator(mode="after")
    def _is_named(self) -> Self:
        if self.name is None and self.naming is None and self.operation != "uninstall":
            raise ValueError("give name or naming")
        return self


class ContainerInfo(Answer):
    """One container. `status` is the engine's sentence; sizes are bytes, `cpu_percent` is of one core, between two samples.

    Measurements are null where they were not taken: it doesn't run, or it ended meanwhile. `version`,
    `project_id` and `client_id` are what Hoist's own labels say.
    """

    container_id: Annotated[str, Field(max_length=64)]
    container_name: Annotated[str, Field(max_length=253)]
    image: Annotated[str, Field(max_length=500)]
    status: Annotated[str, Field(max_length=200)] = ""
    state: ContainerState
    created_at: UtcDatetime
    started_at: UtcDatetime | None = None
    cpu_percent: Annotated[FiniteFloat, Field(ge=0)] | None = None
    memory_usage: Count | None = None
    memory_limit: Count | None = None
    memory_percent: Annotated[FiniteFloat, Field(ge=0)] | None = None
    network_rx: Count | None = None
    network_tx: Count | None = None
    health: Literal["starting", "healthy", "unhealthy"] | None = None
    restart_count: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    exit_code: Annotated[int, Field(ge=-(2**31), le=2**31 - 1)] | None = None
    matched_project: Annotated[str, Field(max_length=200)] | None = None
    matched_prefix: Annotated[str, Field(max_length=100)] | None = None
    image_id: Annotated[str, Field(max_length=200)] | None = None
    version: Annotated[str, Field(max_length=100)] | None = None
    project_id: Annotated[str, Field(max_length=200)] | None = None
    client_id: Annotated[str, Field(max_length=63)] | None = None


class ContainerCollectRequest(Request):
    """Which containers: all of them, or those that one of the `prefixes` covers (the longest, at a '-', '_' or '.').

    With both, all of them; the prefixes then only fill `matched_prefix`.
    """

    prefixes: Annotated[tuple[Prefix, ...], Field(max_length=1000)] = ()
    all: bool = False

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if not self.prefixes and not self.all:
            raise ValueError("give prefixes, or all: true")
        return self


class ContainerReportRequest(ContainerCollectRequest):
    """The same. What is sent to the release API is always all of them; the answer has those that are asked about."""


class ContainerListRequest(Request):
    """The same, all of them by default, without any measurement."""

    prefixes: Annotated[tuple[Prefix, ...], Field(max_length=1000)] = ()


class CollectedContainers(Answer):
    """What the engine has. `docker_version` is the engine's; `truncated`: it has more than 20,000, and some are left out."""

    docker_version: str | None = None
    containers: tuple[ContainerInfo, ...] = ()
    truncated: bool = False
    collected_at: UtcDatetime | None = None


class PrefixCount(Answer):
    """How many containers a prefix covers, and how many of them are in each state."""

    prefix: str
    count: int
    running: int
    states: dict[str, int]


class ListedContainers(Answer):
    """Every container without measurements, and how many each prefix has."""

    docker_version: str | None = None
    containers: tuple[ContainerInfo, ...] = ()
    counts: tuple[PrefixCount, ...] = ()


class ContainerReported(Answer):
    """`delivered`: the release API has it; else it waits in the spool, and `error` says why."""

    report_id: str
    delivered: bool
    error: str | None = None
    docker_version: str | None = None
    containers: tuple[ContainerInfo, ...] = ()


class ContainerReport(Answer):
    """What an agent tells the release API: POST /release/container-report. `truncated`: some had to be left out."""

    client_id: ClientId
    docker_version: Annotated[str, Field(max_length=100)] | None = None
    containers: Annotated[tuple[ContainerInfo, ...], Field(max_length=MAX_CONTAINERS)]
    reported_at: UtcDatetime
    report_id: OpaqueId | None = None
    dropped_reports: Dropped | None = None
    truncated: bool = False

    @model_validator(mode="after")
    def _no_nul(self) -> Self:
        check_no_nul(self)
        return self
