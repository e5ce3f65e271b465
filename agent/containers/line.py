"""A queue in front of the engine with one thread: what is slow there holds up nothing else in the agent."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from agent.containers.errors import EngineUnavailable

T = TypeVar("T")
MOST_WAITING = 32
ANSWER_WITHIN_S = 20.0
"""A question that waits for others longer than this is refused: the engine is too slow for what is asked of it."""


class Line:
    """One question at a time. Where the engine did not answer one, those that waited meanwhile fail with it at once."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._waiting = 0
        self._failed: tuple[float, EngineUnavailable] | None = None

    async def ask(self, question: Callable[[], T]) -> T:
        """What `question`, which blocks, returns or raises; raises EngineUnavailable where it can't be waited for."""
        if self._waiting >= MOST_WAITING:
            raise EngineUnavailable("too many questions wait for it already")
        asked_at = time.monotonic()
        loop = asyncio.get_running_loop()
        self._waiting += 1
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return await loop.run_in_executor(self._thread, self._answer, question, asked_at)
        except TimeoutError:
            raise EngineUnavailable("it does not answer in time") from None
        finally:
            self._waiting -= 1

    def _answer(self, question: Callable[[], T], asked_at: float) -> T:
        if self._failed is not None and self._failed[0] > asked_at:
            raise EngineUnavailable(self._failed[1].why)
        try:
            return question()
        except EngineUnavailable as error:
            self._failed = (time.monotonic(), error)
            raise
