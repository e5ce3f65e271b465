"""Empties the spool, oldest first and at a gentle pace; backs off while the release API is away."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Never, Protocol

from agent.monitors.errors import PermanentReportError, TransientReportError
from agent.monitors.refusing import RefusedStreams
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
REFUSED_KEPT = timedelta(days=1)
"""So old may a report get whose stream is refused: time enough to register a project or to put a target back."""
_REFUSED_KEPT_H = REFUSED_KEPT / timedelta(hours=1)


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
        self,
        spool: Spool,
        sender: Sender,
        uniform: Callable[[float, float], float] = random.uniform,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._spool = spool
        self._sender = sender
        self._uniform = uniform
        self._now = now
        self._refused_streams = RefusedStreams(uniform)
        self._sent: dict[str, int] = {}
        self._one_at_a_time = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._reached = asyncio.Event()
        self._refused: dict[int, str] = {}
        self.last_error: str | None = None
        """Why the latest attempt failed; None after one that worked. A stream that waits for itself has `why_refused`."""

    def wake(self) -> None:
        """There is something to deliver."""
        self._wanted.set()

    def refusal(self, number: int) -> str | None:
        """Why the release API refused a report for good, if it did."""
        return self._refused.get(number)

    def why_refused(self, streams: Iterable[str]) -> str | None:
        """Why the release API refuses the reports of the first of these streams that it refuses, for now."""
        return next(filter(None, map(self._refused_streams.reason, streams)), None)

    async def flush(self) -> None:
        """Deliver everything that waits; raises TransientReportError where the release API can't be reached.

        A stream that it refuses (a project that it does not know, or not yet) is passed over while it rests, and fails nothing.
        """
        refused, clock = self._refused_streams, asyncio.get_running_loop().time
        async with self._one_at_a_time:
            passed_over = refused.resting(clock())
            while (chosen := await asyncio.to_thread(self._next, passed_over)) is not None:
                waiting, body = chosen
                forget = self._spool.remove
                try:
                    await self._sender.send(waiting.stream, body)
                    self._note_sent(waiting)
                except PermanentReportError as error:
                    log.error("dropped a report of %s: %s", waiting.stream, error)
                    self._remember(waiting.number, str(error))
                    forget = self._spool.give_up
                except TransientReportError as error:
                    if not error.of_its_project:
                        self.last_error = str(error)
                        raise
                    await self._note_refused(waiting.stream, str(error))
                    passed_over.add(waiting.stream)
                    continue
                await asyncio.to_thread(forget, waiting.number)
                if len(self._spool):
                    await asyncio.sleep(self._uniform(SHORTEST_PAUSE_S, LONGEST_PAUSE_S))
            refused.forget_unless(lambda stream: self._spool.count(stream) > 0)

    async def deliver(self, number: int) -> str | None:
        """None once the release API has the report; else why it has not, yet or for good."""
        waiting = self._spool.find(number)
        if waiting is not None:
            self._refused_streams.try_now(waiting.stream)
        error_text = None
        try:
            async with asyncio.timeout(DELIVER_WITHIN_S):
                await self.flush()
        except TransientReportError as error:
            error_text = str(error)
        except TimeoutError:
            kept = len(self._spool)
            error_text = f"cannot deliver the report within {DELIVER_WITHIN_S:g} s: {kept} reports wait"
        finally:
            self.wake()  # for what waits still, and for whatever stream was found to be refused
        if waiting is not None and number in self._spool:  # else it was another stream's that has to wait
            return error_text or self._refused_streams.reason(waiting.stream)
        return self.refusal(number)

    async def drop(self, stream: str, reason: str) -> None:
        """Forget what waits of a stream: nobody wants it any more. Not counted: nothing is missed."""
        numbers = await asyncio.to_thread(self._spool.drop, stream)
        self._refused_streams.forget(stream)
        for number in numbers:
            self._keep_reason(number, reason)

    async def run(self, spread_s: float = 0.0) -> Never:
        """Deliver whenever there is something, for ever; ends by cancellation. It begins within `spread_s`, by chance."""
        failures = 0
        self._wanted.set()
        await asyncio.sleep(self._uniform(0.0, spread_s))
        while True:
            await self._until_wanted()
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

    async def _until_wanted(self) -> None:
        """Until there is something to deliver, or a refused stream has rested."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._refused_streams.next_at()):
                await self._wanted.wait()

    async def _back_off(self, failures: int) -> None:
        """Anywhere in the whole time, so that a fleet does not come back in one moment; over when a command got through."""
        self._reached.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._uniform(0.0, backoff_s(failures))):
                await self._reached.wait()

    def _next(self, passed_over: Collection[str]) -> tuple[Waiting, bytes] | None:
        kept_back = sum(self._spool.count(stream) for stream in self._refused_streams.all())
        if len(self._spool) - kept_back > IN_ORDER_UP_TO:
            newest = self._spool.newest(self._sent, passed_over)
            if newest is not None:
                return newest
        return self._spool.oldest(passed_over)

    def _note_sent(self, waiting: Waiting) -> None:
        self.last_error = None
        self._refused_streams.forget(waiting.stream)
        self._sent[waiting.stream] = max(waiting.number, self._sent.get(waiting.stream, 0))
        self._reached.set()

    async def _note_refused(self, stream: str, reason: str) -> None:
        """The stream rests; what is too old to be kept for it goes, and is counted."""
        self._reached.set()
        is_new = self._refused_streams.note(stream, reason, asyncio.get_running_loop().time())
        if is_new:
            log.warning("keeping reports of %s for %.0f h at most: %s", stream, _REFUSED_KEPT_H, reason)
        numbers = await asyncio.to_thread(self._spool.drop_older, stream, self._now() - REFUSED_KEPT)
        if numbers and self._refused_streams.is_first_drop(stream):
            log.error("dropping reports of %s over %.0f h old: %s", stream, _REFUSED_KEPT_H, reason)
        for number in numbers:
            self._keep_reason(number, reason)

    def _remember(self, number: int, reason: str) -> None:
        self.last_error = reason
        self._keep_reason(number, reason)

    def _keep_reason(self, number: int, reason: str) -> None:
        self._refused[number] = reason
        while len(self._refused) > _REMEMBERED:
            del self._refused[next(iter(self._refused))]
