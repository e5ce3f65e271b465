"""Threads that ask the engine: the agent does not wait for them when it ends, however slow the engine is."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")
Work = tuple[Future[Any], Callable[[], Any]]


class DaemonThreads(Executor):
    """At most `most` of them. `ThreadPoolExecutor` would be joined at the interpreter's end, its whole queue included.

    To be used by one thread.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._started = 0
        self._work: SimpleQueue[Work | None] = SimpleQueue()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have it called by one of the threads."""
        future: Future[T] = Future()
        self._work.put((future, partial(fn, *args, **kwargs)))
        if self._started < self._most:
            self._started += 1
            threading.Thread(target=self._carry_out, name=self._name, daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002 (an Executor's)
        """The threads end once they have done what was submitted and not cancelled. Nobody waits for that."""
        for _ in range(self._started):
            self._work.put(None)

    def _carry_out(self) -> None:
        while (work := self._work.get()) is not None:
            future, call = work
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 (raised where the future is waited for)
                future.set_exception(error)
            else:
                future.set_result(result)
            del work, future, call
