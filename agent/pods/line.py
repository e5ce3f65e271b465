"""A queue in front of the cluster: one question at a time, and none that holds up the agent's other work, or its end."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

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
                answer = begin(self._name, lambda: self._answer(question, asked_at))
                answer.add_done_callback(self._release_in(asyncio.get_running_loop()))
                return await asyncio.wrap_future(answer)
        except TimeoutError:
            raise ClusterUnavailable("it does not answer in time") from None
        finally:
            self._waiting -= 1

    def _release_in(self, loop: asyncio.AbstractEventLoop) -> Callable[[Future[T]], None]:
        """The next one's turn comes when the cluster has answered, also where nobody waits for that any more."""

        def release(_answer: Future[T]) -> None:
            with suppress(RuntimeError):  # the agent has ended meanwhile
                loop.call_soon_threadsafe(self._turn.release)

        return release

    def _answer(self, question: Callable[[], T], asked_at: float) -> T:
        if self._failed is not None and self._failed[0] > asked_at:
            raise ClusterUnavailable(self._failed[1].why)
        try:
            return question()
        except ClusterUnavailable as error:
            self._failed = (time.monotonic(), error)
            raise


def ask_within(seconds: float, name: str, question: Callable[[], T]) -> T:
    """What `question` returns or raises; ClusterUnavailable where that takes longer. Blocks."""
    try:
        return begin(name, question).result(seconds)
    except TimeoutError:
        raise ClusterUnavailable("it does not answer in time") from None


def begin(name: str, question: Callable[[], T]) -> Future[T]:
    """Have it answered by a thread of its own, a daemon: the agent's end waits for no cluster."""
    answer: Future[T] = Future()
    answer.set_running_or_notify_cancel()  # who waits no longer can't take it back

    def carry_out() -> None:
        try:
            result = question()
        except BaseException as error:  # noqa: BLE001 (raised where it is waited for)
            answer.set_exception(error)
        else:
            answer.set_result(result)

    threading.Thread(target=carry_out, name=name, daemon=True).start()
    return answer
