"""What a run does with a client's result that it finds: a re-run goes on where the one before it stopped."""

from dataclasses import dataclass
from enum import StrEnum


class Step(StrEnum):
    """LEAVE: it has its outcome. START: commit a new attempt and run it. REATTACH: ask for the execution that is under way."""

    LEAVE = "leave"
    START = "start"
    REATTACH = "reattach"


@dataclass(frozen=True, slots=True)
class Resumption:
    """`attempt` is the one to run or to ask for."""

    step: Step
    attempt: int


def decide_resumption(status: str, attempt: int, execution_id: str | None) -> Resumption:
    """Pending: the next attempt. Running: the same attempt under the same execution id. Everything else is done."""
    if status == "pending":
        return Resumption(Step.START, attempt + 1)
    if status == "running" and execution_id is not None:
        return Resumption(Step.REATTACH, attempt)
    if status == "running":
        return Resumption(Step.START, max(attempt, 1))
    return Resumption(Step.LEAVE, attempt)


def execution_id_of(deploy_task_id: str, client_id: str, attempt: int, operation: str) -> str:
    """`{deploy task}.{client}.{attempt}.{operation}`: the same for every repeat of the attempt."""
    return f"{deploy_task_id}.{client_id}.{attempt}.{operation}"
