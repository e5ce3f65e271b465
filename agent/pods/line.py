"""A queue in front of the cluster: one question at a time, and none that holds up the agent's other work, or its end."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from agent.pods.errors import ClusterUnavailable

T = TypeVar("T")
MOST_WAITING = 32
ANSWER_WITHIN_S = 20.0
"""A question that waits for others longer than this is refused: the cluster is too slow for what is asked of it."""


class Line:
    """Where the cluster did not answer a question, those that waited meanwhile fail with it at once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._failed: tuple[float, ClusterUnavailable] | None = None

    async def ask(self, question: Callable[[], T]) -> T:
        """What `question`, which blocks, returns or raises; ClusterUnavailable where it can't be waited for."""
        if self._waiting >= MOST_WAITING:
            raise ClusterUnavailable("too many questions wait for it already")
        asked_at = time.monotonic()
        self._waiting += 1
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await self._turn.acquire()
                return await self._begin(question, asked_at)
        except TimeoutError:
            raise ClusterUnavailable("it does not answer in time") from None
        finally:
            self._waiting -= 1

    def _begin(self, question: Callable[[], T], asked_at: float) -> asyncio.Future[T]:
        """The thread is a daemon: the agent's end does not wait for a cluster that is silent."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def carry_out() -> None:
            result: Any = None
            error: BaseException | None = None
            try:
                result = self._answer(question, asked_at)
            except BaseException as raised:  # noqa: BLE001 (raised where it is waited for)
                error = raised
            with suppress(RuntimeError):  # the agent has ended meanwhile
                loop.call_soon_threadsafe(self._end, answer, result, error)

        threading.Thread(target=carry_out, name=self._name, daemon=True).start()
        return answer

    def _answer(self, question: Callable[[], T], asked_at: float) -> T:
        if self._failed is not None and self._failed[0] > asked_at:
            raise ClusterUnavailable(self._failed[1].why)
        try:
            return question()
        except ClusterUnavailable as error:
            self._failed = (time.monotonic(), error)
            raise

    def _end(self, answer: asyncio.Future[T], result: T, error: BaseException | None) -> None:
        self._turn.release()
        if answer.done():
            return  # nobody waits for it any more
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)
