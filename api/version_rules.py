"""What a version must have, and must not, for its project's type."""

from collections.abc import Iterator
from typing import Any, Protocol

from agent.wire.containers import DeployConfig
from agent.wire.problems import FieldError
from agent.wire.processes import ProcessConfig
from api.errors import Refused
from db.documents.evidence import EvidenceConfig

NOTHING_PROVEN = (
    "nothing would be proven: give process_config.rules or evidence.checks, or say evidence.source: exit_code"
)
NOT_ASKED = "with evidence.source: exit_code nothing else is asked: leave it out"
NEEDED = "is needed"
OF_SCRIPTS_ALONE = "only a script project has it: leave it out"
IN_DEPLOY_CONFIG = "a container project has it in deploy_config: leave it out"
ALWAYS_JUDGED = "a container is always judged by what runs: leave it out"
OF_CONTAINERS_ALONE = "only a container or Kubernetes project has it: leave it out"
IN_DEPLOYMENT = "the Deployment has it, of which a version sets the image alone: leave it out"
NOT_ON_NODES = "a cluster's processes are not seen by its agent: leave it out"


class Described(Protocol):
    """A version as it is asked for, or as it is stored."""

    @property
    def work_dir(self) -> str | None: ...
    @property
    def deploy_config(self) -> DeployConfig | None: ...
    @property
    def process_config(self) -> ProcessConfig | None: ...
    @property
    def evidence(self) -> EvidenceConfig | None: ...


def check_fits(project_type: str, version: Described) -> None:
    """Raises Refused (422), naming every field that is missing or out of place."""
    faults = [FieldError(field=field, message=message) for field, message in _RULES[project_type](version)]
    if faults:
        said = "; ".join(f"{fault.field}: {fault.message}" for fault in faults)
        raise Refused(422, f"cannot accept the request: {said}", tuple(faults))


def _script_faults(version: Described) -> Iterator[tuple[str, str]]:
    if version.work_dir is None:
        yield "work_dir", NEEDED
    if version.deploy_config is not None:
        yield "deploy_config", OF_CONTAINERS_ALONE
    evidence, processes = version.evidence or EvidenceConfig(), version.process_config or ProcessConfig()
    if evidence.source == "processes" and not processes.rules and not evidence.checks:
        yield "evidence", NOTHING_PROVEN
    if evidence.source == "exit_code":
        for field in ("version_probe", "checks"):
            if getattr(evidence, field):
                yield f"evidence.{field}", NOT_ASKED


_SCRIPT_FIELDS: dict[str, Any] = {
    "work_dir": None,
    "install_script": None,
    "update_script": None,
    "rollback_script": None,
    "uninstall_script": None,
    "interpreter": "/bin/bash",
    "run_as": None,
    "detach_method": None,
}
"""What only scripts have, and how it stands where nobody said it."""


def _container_faults(version: Described) -> Iterator[tuple[str, str]]:
    yield from _no_script_faults(version)
    if getattr(version, "env", None):
        yield "env", IN_DEPLOY_CONFIG


def _kubernetes_faults(version: Described) -> Iterator[tuple[str, str]]:
    yield from _no_script_faults(version)
    if getattr(version, "env", None):
        yield "env", IN_DEPLOYMENT
    config = version.deploy_config
    if config is not None:
        unsaid = DeployConfig(image=config.image)
        for field in DeployConfig.model_fields:
            if getattr(config, field) != getattr(unsaid, field):
                yield f"deploy_config.{field}", IN_DEPLOYMENT
    if version.process_config is not None and version.process_config.rules:
        yield "process_config.rules", NOT_ON_NODES


def _no_script_faults(version: Described) -> Iterator[tuple[str, str]]:
    if version.deploy_config is None:
        yield "deploy_config", NEEDED
    for field, unsaid in _SCRIPT_FIELDS.items():
        if getattr(version, field) != unsaid:
            yield field, OF_SCRIPTS_ALONE
    if version.evidence is not None and version.evidence.source == "exit_code":
        yield "evidence.source", ALWAYS_JUDGED


_RULES = {"script": _script_faults, "container": _container_faults, "kubernetes": _kubernetes_faults}
