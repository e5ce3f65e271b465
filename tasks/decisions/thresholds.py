"""Whether a deploy task goes on after failures. A threshold has to be exceeded, not reached."""

from enum import StrEnum

from db.documents.strategy import FailureStrategy, Threshold


class Course(StrEnum):
    """GO_ON: few enough failed. GO_ON_ANYWAY: too many, but the task is to continue. ABORT: start no further client."""

    GO_ON = "go_on"
    GO_ON_ANYWAY = "go_on_anyway"
    ABORT = "abort"


def exceeds(failed: int, total: int, max_failures: Threshold) -> bool:
    """Whether `failed` clients (the unreachable among them) of the whole task's `total` are more than allowed."""
    if isinstance(max_failures, int):
        return failed > max_failures
    return failed * 100 > int(max_failures.rstrip("%")) * total


def decide_course(
    failed: int, total: int, max_failures: Threshold, failure_strategy: FailureStrategy
) -> Course:
    """What to do now that so many clients have failed."""
    if not exceeds(failed, total, max_failures):
        return Course.GO_ON
    return Course.GO_ON_ANYWAY if failure_strategy == "continue" else Course.ABORT
