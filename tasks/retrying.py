"""Asking an agent again: how long to wait in between, and which failures are worth it."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import task_run

from agent.errors import TransientAgentError

T = TypeVar("T")

_SHARES = (1, 2, 4, 8, 16, 32, 57)
"""Doubling from one second; they add up to two minutes when the window is two minutes."""

JITTER = 0.2


def retry_delays(window_s: float) -> list[float]:
    """Waits between the attempts, in seconds: exponential, adding up to the window."""
    return [window_s * share / sum(_SHARES) for share in _SHARES]


def is_transient(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether the task run is worth another attempt: for `retry_condition_fn`.

    It looks at `state.data`: on an async task `state.result()` is a coroutine, which never raises, and everything
    would be retried.
    """
    return isinstance(state.data, TransientAgentError)


def first_asked(before: float) -> float:
    """When the first attempt of the task run that is going on began, on the monotonic clock; `before`: what an earlier one heard."""
    return before if int(task_run.run_count or 1) > 1 else time.monotonic()


def asks_again(window_s: float, since: float) -> bool:
    """Whether Prefect has another attempt left for the task run that is going on, and the window is not over.

    An agent that is asked in vain for long, each time, has its window used up by that.
    """
    return int(task_run.run_count or 1) <= len(retry_delays(window_s)) and time.monotonic() - since < window_s


async def keep_asking(
    ask: Callable[[], Awaitable[T]],
    window_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> T:
    """What `ask` answers, asked again over the whole window, at its end for the last time. Raises the last TransientAgentError."""
    deadline = clock() + window_s
    delays = iter(retry_delays(window_s))
    while True:
        try:
            return await ask()
        except TransientAgentError:
            left = deadline - clock()
            if left <= 0:
                raise
            delay = next(delays, left) * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 (jitter is no secret)
            await sleep(min(delay, left))
