"""A queue with one thread in front of what may not answer (a Docker engine, a cluster): what is slow there holds up nothing else in the agent."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from agent.errors import Unavailable

T = TypeVar("T")
MOST_WAITING = 32
ANSWER_WITHIN_S = 20.0
"""A question that waits for others longer than this is refused: what answers is too slow for what is asked of it."""


class Line:
    """One question at a time. Where one was not answered, those that waited meanwhile fail with it at once."""

    def __init__(self, name: str, unavailable: Callable[[str], Unavailable]) -> None:
        """`unavailable`: what is raised, with why, where nothing answers."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._waiting = 0
        self._unavailable = unavailable
        self._failed: tuple[float, Unavailable] | None = None

    async def ask(self, question: Callable[[], T]) -> T:
        """What `question`, which blocks, returns or raises; raises Unavailable where it can't be waited for."""
        if self._waiting >= MOST_WAITING:
            raise self._unavailable("too many questions wait for it already")
        asked_at = time.monotonic()
        loop = asyncio.get_running_loop()
        self._waiting += 1
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return await loop.run_in_executor(self._thread, self._answer, question, asked_at)
        except TimeoutError:
            raise self._unavailable("it does not answer in time") from None
        finally:
            self._waiting -= 1

    def _answer(self, question: Callable[[], T], asked_at: float) -> T:
        if self._failed is not None and self._failed[0] > asked_at:
            raise self._unavailable(self._failed[1].why)
        try:
            return question()
        except Unavailable as error:
            self._failed = (time.monotonic(), error)
            raise
