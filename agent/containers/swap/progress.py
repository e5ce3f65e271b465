"""How far a swap is: on disk before each step, so that an agent that died goes on from there."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from agent.executions.steps import Progress

Phase = Literal[
    "begin",
    "pull",
    "create",
    "stop_first",
    "start",
    "wait",
    "switch",
    "stop_previous",
    "prune",
    "revert",
    "remove",
]
"""In this order; `stop_first` only where both need the same port, `revert` where it failed, `remove` of an uninstall."""


class Previous(BaseModel):
    """A container that is to be replaced."""

    model_config = ConfigDict(frozen=True)

    container_id: str
    name: str


class SwapProgress(Progress):
    """`container_id` None: not made yet. `kept`: it is one that was kept, so a failure stops it and removes nothing.

    `gap_began`, `gap_ended`: Unix times between which nothing served. `unseen`: it failed before it knew what runs.
    `creating`: the engine was asked to make one, and has not answered. `took_over`: it had, and did not last.
    """

    phase: Phase = "begin"
    previous: tuple[Previous, ...] = ()
    name: str | None = None
    container_id: str | None = None
    image_id: str | None = None
    kept: bool = False
    gap_first: bool = False
    gap_began: float | None = None
    gap_ended: float | None = None
    log_shown: bool = False
    unseen: bool = False
    creating: bool = False
    took_over: bool = False

    @property
    def gap_ms(self) -> int:
        """For how long nothing served, in milliseconds; 0 where there was no gap, or it is not over."""
        if self.gap_began is None or self.gap_ended is None:
            return 0
        return max(0, round((self.gap_ended - self.gap_began) * 1000))
