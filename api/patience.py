"""A limit of time for many short waits: one timer for all of them, where one for each costs more than the wait."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

Result = TypeVar("Result")


class Patience:
    """Ends each wait that takes longer than `limit_s`, up to a second later. For one event loop; a task waits for one
    thing at a time.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._until: dict[asyncio.Task[object], float] = {}  # in the order in which they began, and end
        self._overdue: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def wait_for(self, what: Awaitable[Result]) -> Result:
        """Its result. Raises TimeoutError, as asyncio.timeout does, where it is not there in time."""
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        self._until[task] = loop.time() + self._limit_s
        if self._timer is None:
            self._look_later(loop)
        cancelled_before = task.cancelling()
        try:
            return await what
        except asyncio.CancelledError as error:
            if task in self._overdue and task.uncancel() <= cancelled_before:
                raise TimeoutError from error
            raise
        finally:
            del self._until[task]
            self._overdue.discard(task)

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(min(1.0, self._limit_s), self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for task, until in self._until.items():
            if until > now:
                break
            if task not in self._overdue:
                self._overdue.add(task)
                task.cancel()
        self._timer = None
        if self._until:
            self._look_later(loop)
