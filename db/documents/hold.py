"""What a deploy task's run waits for."""

from typing import Literal

from agent.wire.base import Answer, UtcDatetime

HoldKind = Literal["approval", "schedule", "window", "freeze", "operator", "canary", "wave", "failures"]


class HoldState(Answer):
    """`wave`: how many waves are done. `until`: when it ends by itself; null where it takes a person."""

    kind: HoldKind
    wave: int
    reason: str
    since: UtcDatetime
    until: UtcDatetime | None = None
