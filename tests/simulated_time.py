"""An event loop whose clock jumps to whatever is due next: ten minutes pass in a moment, with the product's own classes."""

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class _Jumping(selectors.DefaultSelector):
    """Waits for nobody: the time that it was to wait has passed."""

    def __init__(self, pass_time: Callable[[float], None]) -> None:
        super().__init__()
        self._pass_time = pass_time

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "nothing is due, ever"
            self._pass_time(timeout)
        return ready


class _AtOnce(ThreadPoolExecutor):
    """What would be done in a thread is done here and now."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


class SimulatedLoop(asyncio.SelectorEventLoop):
    """`time()` is seconds since it began; nothing but timers moves it."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Jumping(self._pass))
        self.set_default_executor(_AtOnce(1))

    def time(self) -> float:
        return self._now

    def _pass(self, seconds: float) -> None:
        self._now += max(0.0, seconds)


def simulate(main: Any) -> Any:
    """Run a coroutine in simulated time."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(main)
