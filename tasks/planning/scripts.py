"""Which script runs on a client, or which container, and whose it is."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from agent.wire.containers import DeployConfig
from agent.wire.executions import Operation
from agent.wire.processes import ProcessConfig
from db.documents.evidence import EvidenceConfig
from db.documents.kubernetes_config import ProjectKubernetes
from db.models import Project, Version
from tasks.decisions.selection import Candidate
from tasks.errors import PlanningError

ScriptField = Literal[
    "install_script", "update_script", "rollback_script", "uninstall_script", "deploy_config"
]


@dataclass(frozen=True, slots=True)
class ChosenScript:
    """A version's script, or its container (`deploy_config`)."""

    version: Version
    field: ScriptField

    @property
    def sha256(self) -> str:
        """The script's hash, as the plan keeps it."""
        return script_sha256(self.version, self.field)


def script_sha256(version: Version, field: ScriptField) -> str:
    """SHA-256 (hex) of one of the version's scripts, or of its deploy_config's canonical JSON; of nothing if it has none."""
    source = getattr(version, field) or ""
    if isinstance(source, DeployConfig):
        source = json.dumps(source.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(source.encode()).hexdigest()


def recipe_sha256(project: Project, runs: Version, reached: Version | None) -> str:
    """SHA-256 (hex) of the canonical JSON of what goes with a script: how it runs, and what proves what it reaches.

    In a cluster also which Deployment it is.
    """
    proven = reached or runs
    evidence, config = proven.evidence or EvidenceConfig(), proven.process_config or ProcessConfig()
    document = {
        "env": runs.env,
        "run_as": runs.run_as,
        "work_dir": runs.work_dir,
        "interpreter": runs.interpreter,
        "timeout_s": runs.timeout_s,
        "detach_method": runs.detach_method,
        "evidence": evidence.model_dump(mode="json"),
        "rules": [rule.model_dump(mode="json") for rule in config.rules],
    }
    if project.type == "kubernetes":
        where = project.kubernetes_config or ProjectKubernetes()
        document["kubernetes"] = where.model_dump(mode="json")
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def choose_script(
    project: Project,
    candidate: Candidate,
    operation: Operation,
    to_version: str,
    versions: Mapping[str, Version],
) -> ChosenScript:
    """The script for the client. `versions` holds the registered ones by name.

    Raises PlanningError, naming the field, where the version has no such script or is not registered.
    """
    if project.type != "script":
        return _container(project, candidate, operation, to_version, versions)
    if operation == "rollback":
        return _rollback_script(project, candidate, to_version, versions)
    field = _field_of(operation, candidate)
    version = versions.get(to_version)
    if version is None:
        raise PlanningError(
            f"cannot {operation} {to_version} on {candidate.client_id}: it is not registered in {project.name}",
            "version",
        )
    return _with_script(project, version, field, operation)


def _container(
    project: Project,
    candidate: Candidate,
    operation: Operation,
    to_version: str,
    versions: Mapping[str, Version],
) -> ChosenScript:
    version = versions.get(to_version)
    if version is None or version.deploy_config is None:
        missing = "is not registered" if version is None else "has no deploy_config"
        raise PlanningError(
            f"cannot {operation} {to_version} on {candidate.client_id}: it {missing} in {project.name}",
            "version",
        )
    return ChosenScript(version, "deploy_config")


def _field_of(operation: Operation, candidate: Candidate) -> ScriptField:
    if operation == "uninstall":
        return "uninstall_script"
    if operation == "install" or (operation == "deploy" and candidate.installed is None):
        return "install_script"
    return "update_script"


def _rollback_script(
    project: Project, candidate: Candidate, to_version: str, versions: Mapping[str, Version]
) -> ChosenScript:
    left = versions.get(candidate.installed or "")
    reached = versions.get(to_version)
    if left is not None and _has(left, "rollback_script"):
        return ChosenScript(left, "rollback_script")
    if reached is not None:
        return _with_script(project, reached, "update_script", "rollback")
    raise PlanningError(
        f"cannot rollback {candidate.client_id} to {to_version}: version {candidate.installed} of {project.name} "
        f"has no rollback_script, and {to_version} is not registered",
        "version",
    )


def _with_script(project: Project, version: Version, field: ScriptField, operation: str) -> ChosenScript:
    if not _has(version, field):
        raise PlanningError(
            f"cannot {operation}: version {version.version} of {project.name} has no {field}", field
        )
    return ChosenScript(version, field)


def _has(version: Version, field: ScriptField) -> bool:
    return bool((getattr(version, field) or "").strip())
