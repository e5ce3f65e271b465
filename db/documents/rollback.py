"""How a client of a deploy task was taken back to the version that it came from."""

from typing import Literal

from agent.wire.base import Answer, UtcDatetime
from db.documents.evidence import Evidence


class RollbackState(Answer):
    """`execution_id` is committed before its request is sent, as an attempt's is."""

    status: Literal["running", "success", "failed", "unreachable", "unknown", "skipped"]
    execution_id: str
    to_version: str
    started_at: UtcDatetime
    finished_at: UtcDatetime | None = None
    exit_code: int | None = None
    error: str | None = None
    evidence: Evidence | None = None
