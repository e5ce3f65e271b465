"""Many small writes in few transactions, for an event loop: a batch closes when the commit before it ends.

What waits while a batch is written is the next batch: a lone report waits for nobody, and a burst pays for few commits.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy.exc import IntegrityError

from api.errors import TransientApiError
from db.errors import RacedError, TransientDatabaseError

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

MAX_BATCH = 500
MAX_BATCH_BYTES = 16 * 1024 * 1024
MAX_WAITING = 10_000
"""Reports in memory that wait for their turn; one more is answered 503, and its agent spools it."""
RETRY_AFTER_S = 5
"""So long does it take to write what waits then."""
_LIVE_ALERT = "uq_alerts_live"
"""The index that lets an alert live once: reports of what two of a client's selections share may tell of the same."""


@dataclass(slots=True)
class _Waiting(Generic[Item, Outcome]):
    item: Item
    size: int
    since: float
    future: "asyncio.Future[Outcome]"


class Batches(Generic[Item, Outcome]):
    """Writes items in batches, in one thread. `write` takes a batch and answers, for each item, its outcome or why it
    is refused; where `write` raises, the batch is taken apart, so that an item that breaks it takes no other along.
    `note` is given each batch that is done with: how many seconds each of its items waited.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Sequence[Outcome | Exception]],
        name: str,
        note: Callable[[Sequence[float]], None] = lambda _waited_s: None,
    ) -> None:
        self._write = write
        self._note = note
        self._thread = ThreadPoolExecutor(1, name)
        self._waiting: deque[_Waiting[Item, Outcome]] = deque()
        self._writing: asyncio.Task[None] | None = None

    async def put(self, item: Item, size: int) -> Outcome:
        """The item's outcome, once it is durable. `size`: its bytes, roughly. Raises what it is refused with."""
        if len(self._waiting) >= MAX_WAITING:
            raise TransientApiError(
                "database",
                "cannot take the report now: too many wait to be written; send it again later",
                retry_after_s=RETRY_AFTER_S,
            )
        loop = asyncio.get_running_loop()
        waiting: _Waiting[Item, Outcome] = _Waiting(item, size, time.perf_counter(), loop.create_future())
        self._waiting.append(waiting)
        if self._writing is None or self._writing.done():
            self._writing = loop.create_task(self._work())
        return await waiting.future

    @property
    def waiting(self) -> int:
        """How many items wait for their batch."""
        return len(self._waiting)

    def close(self) -> None:
        """Wait for the batch that is being written. Nothing is put any more."""
        self._thread.shutdown()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = self._next_batch()
            items = [one.item for one in batch]
            outcomes = await loop.run_in_executor(self._thread, self._outcomes, items)
            done = time.perf_counter()
            self._note([done - waiting.since for waiting in batch])
            for waiting, outcome in zip(batch, outcomes, strict=True):
                if waiting.future.done():  # who asked is gone: the report is kept all the same
                    continue
                if isinstance(outcome, Exception):
                    waiting.future.set_exception(outcome)
                else:
                    waiting.future.set_result(outcome)

    def _next_batch(self) -> list[_Waiting[Item, Outcome]]:
        batch: list[_Waiting[Item, Outcome]] = []
        size = 0
        while self._waiting and len(batch) < MAX_BATCH and (not batch or size < MAX_BATCH_BYTES):
            batch.append(self._waiting.popleft())
            size += batch[-1].size
        return batch

    def _outcomes(self, items: Sequence[Item], *, again: bool = True) -> Sequence[Outcome | Exception]:
        try:
            return self._write_unless_raced(items)
        except TransientDatabaseError as error:
            # Raced by another process: once more. Not there at all: it is not for any one item of the batch.
            if again:
                return self._outcomes(items, again=False)
            return self._in_halves(items, error) if isinstance(error, RacedError) else [error] * len(items)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is handed to who waits for it)
            return self._in_halves(items, error)

    def _in_halves(self, items: Sequence[Item], error: Exception) -> Sequence[Outcome | Exception]:
        if len(items) == 1:
            return [error]
        middle = len(items) // 2
        return [*self._outcomes(items[:middle]), *self._outcomes(items[middle:])]

    def _write_unless_raced(self, items: Sequence[Item]) -> Sequence[Outcome | Exception]:
        try:
            return self._write(items)
        except IntegrityError as error:
            if _LIVE_ALERT not in str(error.orig):
                raise
            raise RacedError("cannot keep the reports: another process told of the same alert") from error
