"""Can a client's agent do what its version needs? Asked before anything is started there: pure."""

from collections.abc import Iterator

from agent.wire.executions import Operation
from agent.wire.info import AgentInfo, Feature
from db.documents.evidence import EvidenceConfig


def what_is_lacking(
    info: AgentInfo,
    evidence: EvidenceConfig,
    operation: Operation,
    run_as: str | None,
    *,
    container: bool,
    kubernetes: bool = False,
) -> str | None:
    """Why this agent can't bring the version here and prove it; None where it can.

    `AgentApi` leaves out what an older agent doesn't know, which is right for what is nice to have. What the version is
    proven by is not, nor is whom its commands run as.
    """
    lacking = [
        f"{what} (feature {feature})"
        for feature, what in _needed(evidence, operation, run_as, container=container, kubernetes=kubernetes)
        if feature not in info.features
    ]
    if not lacking:
        return None
    return f"its agent ({info.agent_version}) is too old for this version, upgrade it: it can't {'; '.join(lacking)}"


def _needed(
    evidence: EvidenceConfig, operation: Operation, run_as: str | None, *, container: bool, kubernetes: bool
) -> Iterator[tuple[Feature, str]]:
    if container:
        yield "containers", "deploy containers"
    if kubernetes:
        yield "kubernetes", "deploy to a cluster"
    if operation == "uninstall":
        return  # nothing is left that could be asked
    if evidence.checks and (container or kubernetes or evidence.source == "processes"):
        yield "evidence_checks", "run the version's checks"
    commands = [one for one in (evidence.version_probe, *evidence.checks) if one and one.type == "command"]
    if run_as is not None and commands:
        yield "check_run_as", f"ask the version's questions as {run_as}"
