"""Many small writes in few transactions: a batch closes when the commit before it ends, so a burst pays for few fsyncs.

Each write has a savepoint of its own: one that fails takes none of the others along. A future resolves when its write
is durable, not before.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from db.errors import PermanentDatabaseError
from db.session import Database

Result = TypeVar("Result")

MAX_BATCH = 500


@dataclass(slots=True)
class _Write:
    do: Callable[[Session], Any]
    future: "Future[Any]" = field(default_factory=Future)


class GroupCommit:
    """One writer thread for a database. `close()` when done: what was submitted is still written."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="group-commit", daemon=True)
        self._thread.start()

    def submit(self, do: Callable[[Session], Result]) -> "Future[Result]":
        """Have `do(session)` written with whatever else waits. The future holds its answer once it is durable.

        `do` must not commit, and may run twice: where the whole batch fails, its writes are tried again one by one.
        """
        write = _Write(do)
        with self._lock:
            if self._closed:
                raise PermanentDatabaseError("cannot write: the writer is closed")
            self._waiting.put(write)
        return write.future

    def close(self) -> None:
        """Write what waits, and end the thread."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while True:
            batch, ended = self._next_batch()
            if batch:
                self._write(batch)
            if ended:
                return

    def _next_batch(self) -> tuple[list[_Write], bool]:
        batch: list[_Write] = []
        item = self._waiting.get()
        while item is not None:
            if item.future.set_running_or_notify_cancel():
                batch.append(item)
            if len(batch) >= MAX_BATCH or self._waiting.empty():
                return batch, False
            item = self._waiting.get()
        return batch, True

    def _write(self, batch: list[_Write]) -> None:
        try:
            outcomes = self._write_together(batch)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is handed to who waits for it)
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            for write in batch:
                self._write([write])
            return
        for write, (answer, failure) in zip(batch, outcomes, strict=True):
            if failure is not None:
                write.future.set_exception(failure)
            else:
                write.future.set_result(answer)

    def _write_together(self, batch: list[_Write]) -> list[tuple[Any, Exception | None]]:
        outcomes: list[tuple[Any, Exception | None]] = []
        with self._database.write() as session:
            for write in batch:
                try:
                    with session.begin_nested():
                        answer = write.do(session)
                        session.flush()
                except Exception as error:  # answered to whoever asked for this write; the others go on
                    if not session.get_transaction() or not session.is_active:
                        raise
                    outcomes.append((None, error))
                else:
                    outcomes.append((answer, None))
        return outcomes
