"""Whether a client is ready for what is planned: pure, from what its agent says of itself."""

from dataclasses import dataclass

from agent.wire.executions import DetachMethod, Operation
from agent.wire.info import AgentInfo
from db.documents.evidence import EvidenceConfig
from tasks.decisions.compatibility import what_is_lacking


@dataclass(frozen=True, slots=True)
class Need:
    """What the plan needs of a client. `detach_method` None: whichever the host has."""

    client_id: str
    operation: Operation
    evidence: EvidenceConfig
    run_as: str | None = None
    container: bool = False
    kubernetes: bool = False
    detach_method: DetachMethod | None = None


@dataclass(frozen=True, slots=True)
class Readiness:
    """What was found. `problems` is empty where nothing stands in the way."""

    agent: str
    method: str
    free: str
    problems: tuple[str, ...]


def judge_readiness(need: Need, info: AgentInfo | None, error: str | None) -> Readiness:
    """`info` None: its agent did not answer, and `error` says why."""
    if info is None:
        said = error or "no answer"
        return Readiness("does not answer", "–", "–", (f"its agent does not answer: {said}",))
    problems = []
    if info.client_id != need.client_id:
        problems.append(f"the agent at its address is {info.client_id}'s")
    lacking = what_is_lacking(
        info,
        need.evidence,
        need.operation,
        need.run_as,
        container=need.container,
        kubernetes=need.kubernetes,
    )
    if lacking is not None:
        problems.append(lacking)
    if need.container and info.docker_version is None:
        problems.append("its agent reaches no container engine")
    if need.kubernetes and info.kubernetes is None:
        problems.append("its agent reaches no cluster")
    method, why = _method(need, info)
    if why is not None:
        problems.append(why)
    if info.free_bytes is not None and info.free_bytes < (info.min_free_bytes or 0):
        problems.append(f"its disk is full: {_size(info.free_bytes)} free")
    return Readiness(info.agent_version, method, _size(info.free_bytes), tuple(problems))


def _method(need: Need, info: AgentInfo) -> tuple[str, str | None]:
    if need.container:
        return "container", None
    if need.kubernetes:
        return "kubernetes", None
    if need.detach_method is None:
        return info.detach_methods[0] if info.detach_methods else "none", None
    if need.detach_method in info.detach_methods:
        return need.detach_method, None
    return (
        need.detach_method,
        f"its host can't do {need.detach_method}: it has {', '.join(info.detach_methods)}",
    )


def _size(count: int | None) -> str:
    if count is None:
        return "–"
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
