"""Looks when it is time, and soon after a notice: what a project's watch and the containers' watch have in common."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Never

from agent.monitors.looks import FOLLOWING_S, Look, Looks

_LARGEST_PHASE = 0.8
"""Of an interval: the second look is no sooner than a fifth of it after the first."""


class Looking:
    """Belongs to one event loop, whose clock it goes by."""

    def __init__(self, interval_s: float, following_s: Sequence[float] = FOLLOWING_S) -> None:
        self.noticed = asyncio.Event()
        """Set from a notice until the look that it leads to."""
        self._interval_s = interval_s
        self._following_s = following_s
        self._looks: Looks | None = None

    def notice(self) -> None:
        """Something changed: look soon."""
        if self._looks is not None:
            self._looks.noticed(asyncio.get_running_loop().time())
            self.noticed.set()

    async def run(self, look: Callable[[Look], Awaitable[bool]]) -> Never:
        """Look at once and then on, until it is cancelled. `look` tells whether all is as it was; it raises nothing."""
        clock = asyncio.get_running_loop().time
        phase = random.uniform(0.0, _LARGEST_PHASE)  # noqa: S311 - no secret
        looks = self._looks = Looks(self._interval_s, clock(), phase, self._following_s)
        while True:
            while (left_s := looks.next_at() - clock()) > 0:
                self.noticed.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left_s):
                        await self.noticed.wait()
            self.noticed.clear()
            if await look(looks.take(clock())):
                looks.settled()
