"""What stops a run from starting further clients: too many failures, a cancel, a lease that is somebody else's."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class Brakes:
    """`stop` pulls them for good, `hold` until `let_go`. `kill`: what runs is to be ended too. `lost`: another run goes on."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.held = False
        self.cancelled = False
        self.lost = False
        self._kill = asyncio.Event()
        self._others: list[Brakes] = []

    @property
    def pulled(self) -> bool:
        """Whether no further client may start now."""
        return self.stopped or self.held

    @property
    def stopped(self) -> bool:
        """Whether no further client may start in this run."""
        return self.reason is not None

    def also(self) -> "Brakes":
        """Brakes of their own, that a cancel or a lost lease pulls too."""
        other = Brakes()
        self._others.append(other)
        if self.lost:
            other.lose(self.reason or "the lease is lost")
        return other

    def hold(self) -> None:
        """Start no further client for the moment."""
        self.held = True

    def let_go(self) -> None:
        """Go on after `hold`; what was stopped stays so."""
        self.held = False

    @property
    def killing(self) -> bool:
        """Whether running scripts are to be cancelled."""
        return self._kill.is_set()

    def stop(self, reason: str) -> None:
        """Start no further client; the first reason stays."""
        self.reason = self.reason or reason

    def cancel(self, running: str) -> None:
        """Cancelled by an operator: `running` is "finish" or "kill"."""
        self.cancelled = True
        self.stop("the deploy task was cancelled")
        if running == "kill":
            self._kill.set()
        for other in self._others:
            other.cancel(running)

    def lose(self, reason: str) -> None:
        """The lease is lost."""
        self.lost = True
        self.stop(reason)
        for other in self._others:
            other.lose(reason)

    async def unless_killed(self, work: Awaitable[T]) -> T | None:
        """What the work answers, or None as soon as the kill comes; the work is cancelled then."""
        asking = asyncio.ensure_future(work)
        killed = asyncio.ensure_future(self._kill.wait())
        try:
            await asyncio.wait({asking, killed}, return_when=asyncio.FIRST_COMPLETED)
            return asking.result() if asking.done() else None
        finally:
            killed.cancel()
            asking.cancel()

    async def sleep(self, seconds: float) -> bool:
        """Sleep; answers True where the kill ended it early."""
        try:
            async with asyncio.timeout(seconds):
                await self._kill.wait()
        except TimeoutError:
            return False
        return True
