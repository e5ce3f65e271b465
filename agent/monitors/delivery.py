"""Empties the spool, oldest first and at a gentle pace; backs off while the release API is away."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Collection
from typing import Never, Protocol

from agent.monitors.errors import PermanentReportError, TransientReportError
from agent.monitors.schedule import backoff_s
from agent.monitors.spool import Spool, Waiting

log = logging.getLogger("agent.monitors")

_REMEMBERED = 1000
DELIVER_WITHIN_S = 25.0
"""How long a command waits for its report's turn: a long spool is delivered first."""


SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.1
"""Between two reports, by chance: 10 to 20 a second, so that a fleet which comes back is no flood."""
IN_ORDER_UP_TO = 300
"""So many reports are through in half a minute. Where more wait, each stream's newest goes ahead: what is true now does not
wait for minutes behind what was true then. The rest follows in order."""


class Sender(Protocol):
    """What a report is sent with."""

    async def send(self, stream: str, body: bytes) -> None:
        """Deliver a report of that stream (see `Waiting`). Raises TransientReportError or PermanentReportError."""
        ...

    async def aclose(self) -> None:
        """Close what it holds."""
        ...


class Delivery:
    """One at a time and in order, whoever asks for it. `uniform` gives a random number between two."""

    def __init__(
        self, spool: Spool, sender: Sender, uniform: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._spool = spool
        self._sender = sender
        self._uniform = uniform
        self._sent: dict[str, int] = {}
        self._one_at_a_time = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._reached = asyncio.Event()
        self._refused: dict[int, str] = {}
        self.last_error: str | None = None
        """Why the latest attempt failed; None after one that worked."""

    def wake(self) -> None:
        """There is something to deliver."""
        self._wanted.set()

    def refusal(self, number: int) -> str | None:
        """Why the release API refused a report for good, if it did."""
        return self._refused.get(number)

    async def flush(self) -> None:
        """Deliver everything that waits; raises TransientReportError where something must wait longer.

        A project that the release API does not know (yet) keeps no other project's reports waiting.
        """
        passed_over: dict[str, TransientReportError] = {}
        async with self._one_at_a_time:
            while (chosen := await asyncio.to_thread(self._next, passed_over)) is not None:
                waiting, body = chosen
                try:
                    await self._sender.send(waiting.stream, body)
                    self._note_sent(waiting)
                except PermanentReportError as error:
                    log.error("dropped a report of %s: %s", waiting.stream, error)
                    self._remember(waiting.number, str(error))
                except TransientReportError as error:
                    self.last_error = str(error)
                    if not error.of_its_project:
                        raise
                    passed_over[waiting.stream] = error
                    continue
                await asyncio.to_thread(self._spool.remove, waiting.number)
                if len(self._spool):
                    await asyncio.sleep(self._uniform(SHORTEST_PAUSE_S, LONGEST_PAUSE_S))
        if passed_over:
            raise next(iter(passed_over.values()))

    async def deliver(self, number: int) -> str | None:
        """None once the release API has the report; else why it has not, yet or for good."""
        try:
            async with asyncio.timeout(DELIVER_WITHIN_S):
                await self.flush()
        except TransientReportError as error:
            self.wake()
            if number in self._spool:  # else it was another stream's that has to wait
                return str(error)
        except TimeoutError:
            self.wake()
            if number in self._spool:
                waiting = len(self._spool)
                return f"cannot deliver the report within {DELIVER_WITHIN_S:g} s: {waiting} reports wait"
        return self.refusal(number)

    async def run(self, spread_s: float = 0.0) -> Never:
        """Deliver whenever there is something, for ever; ends by cancellation. It begins within `spread_s`, by chance."""
        failures = 0
        self._wanted.set()
        await asyncio.sleep(self._uniform(0.0, spread_s))
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self.flush()
                failures = 0
                continue
            except TransientReportError as error:
                failures += 1
                if failures == 1:
                    log.warning("keeping reports: %s", error)
            except Exception:  # reports are kept, and tried again; the thread lives on
                failures += 1
                log.exception("cannot deliver reports, will try again")
            self._wanted.set()
            await self._back_off(failures)

    async def aclose(self) -> None:
        """Close the connection to the release API."""
        await self._sender.aclose()

    async def _back_off(self, failures: int) -> None:
        """Anywhere in the whole time, so that a fleet does not come back in one moment; over when a command got through."""
        self._reached.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._uniform(0.0, backoff_s(failures))):
                await self._reached.wait()

    def _next(self, passed_over: Collection[str]) -> tuple[Waiting, bytes] | None:
        if len(self._spool) > IN_ORDER_UP_TO:
            newest = self._spool.newest(self._sent, passed_over)
            if newest is not None:
                return newest
        return self._spool.oldest(passed_over)

    def _note_sent(self, waiting: Waiting) -> None:
        self.last_error = None
        self._sent[waiting.stream] = max(waiting.number, self._sent.get(waiting.stream, 0))
        self._reached.set()

    def _remember(self, number: int, reason: str) -> None:
        self.last_error = reason
        self._refused[number] = reason
        while len(self._refused) > _REMEMBERED:
            del self._refused[next(iter(self._refused))]
