"""Empties the spool, oldest first; backs off while the release API is away."""

import asyncio
import logging
import random
from typing import Protocol

from agent.monitors.errors import PermanentReportError, TransientReportError
from agent.monitors.schedule import backoff_s
from agent.monitors.spool import Spool

log = logging.getLogger("agent.monitors")

_REMEMBERED = 1000
DELIVER_WITHIN_S = 25.0
"""How long a command waits for its report's turn: a long spool is delivered first."""


class Sender(Protocol):
    """What a report is sent with."""

    async def send(self, stream: str, body: bytes) -> None:
        """Deliver a report of that stream (see `Waiting`). Raises TransientReportError or PermanentReportError."""
        ...

    async def aclose(self) -> None:
        """Close what it holds."""
        ...


class Delivery:
    """One at a time and in order, whoever asks for it."""

    def __init__(self, spool: Spool, sender: Sender) -> None:
        self._spool = spool
        self._sender = sender
        self._one_at_a_time = asyncio.Lock()
        self._wanted = asyncio.Event()
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
            while (oldest := await asyncio.to_thread(self._spool.oldest, passed_over)) is not None:
                waiting, body = oldest
                try:
                    await self._sender.send(waiting.stream, body)
                    self.last_error = None
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

    async def run(self) -> None:
        """Deliver whenever there is something, for ever; ends by cancellation."""
        failures = 0
        self._wanted.set()
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
            except Exception:
                failures += 1
                log.exception("cannot deliver reports, will try again")
            self._wanted.set()
            # Spread, so that a fleet does not come back in one moment.
            await asyncio.sleep(backoff_s(failures) * random.uniform(0.8, 1.0))  # noqa: S311 - no secret

    async def aclose(self) -> None:
        """Close the connection to the release API."""
        await self._sender.aclose()

    def _remember(self, number: int, reason: str) -> None:
        self.last_error = reason
        self._refused[number] = reason
        while len(self._refused) > _REMEMBERED:
            del self._refused[next(iter(self._refused))]
