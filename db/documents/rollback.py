"""How a client of a deploy task was taken back to the version that it came from."""

from typing import Annotated, Literal

from pydantic import Field

from agent.wire.base import Answer, UtcDatetime
from db.documents.evidence import Evidence


class RollbackState(Answer):
    """`execution_id` is committed before its request is sent, as an attempt's is.

    `pending`: the try before this one (`tries` counts them) did not work, and a person asked for another.
    """

    status: Literal["pending", "running", "success", "failed", "unreachable", "unknown", "skipped"]
    execution_id: str
    to_version: str
    started_at: UtcDatetime
    finished_at: UtcDatetime | None = None
    exit_code: int | None = None
    error: str | None = None
    evidence: Evidence | None = None
    tries: Annotated[int, Field(ge=1)] = 1

    @property
    def ended_without_success(self) -> bool:
        """Whether it ended, and the client is not back: nobody has to be asked what became of it, but it can be tried again."""
        return self.status in ("failed", "unreachable")

    @property
    def is_open(self) -> bool:
        """Whether it is still to come, or under way."""
        return self.status in ("pending", "running")

    def again(self) -> "RollbackState":
        """The next try, before it begins."""
        return self.model_copy(update={"status": "pending", "tries": self.tries + 1})
