"""Reports that wait for the release API: files in the order they were made, within a bound; the oldest go first."""

import contextlib
import json
import logging
import threading
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from pathlib import Path

from agent.disk import write_durably

log = logging.getLogger("agent.monitors")

MAX_BYTES = 64 * 1024 * 1024
MAX_REPORTS = 10_000
_DIGITS = 16
CONTAINERS = "@containers"
PODS = "@pods"
"""The streams of container and pod reports: no id of the wire has an @."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One report in the spool. `number` rises with each report; a new agent counts on from the last that still waits.

    `stream`: whose it is: a project's id (its processes), CONTAINERS or PODS. Streams don't wait for each other.
    """

    number: int
    stream: str
    size_bytes: int

    @property
    def file_name(self) -> str:
        """Sorts as the numbers do."""
        return f"{self.number:0{_DIGITS}d}.{self.stream}.json"


class Spool:
    """Blocking and safe for threads. At most `max_bytes` and `max_reports` stay."""

    def __init__(self, state_dir: Path, max_bytes: int = MAX_BYTES, max_reports: int = MAX_REPORTS) -> None:
        """Take up what an earlier agent left; raises OSError."""
        self._folder = state_dir / "spool"
        self._dropped_file = state_dir / "spool-dropped.json"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._max_bytes, self._max_reports = max_bytes, max_reports
        self._lock = threading.Lock()
        self._waiting: OrderedDict[int, Waiting] = OrderedDict()
        self._per_stream: Counter[str] = Counter()
        self._bytes = 0
        self._newest: dict[str, int] = {}
        self._dropped = _read_counts(self._dropped_file)
        self._counts_are_kept = True
        for waiting in _scan(self._folder):
            self._add(waiting)
        self._next = max(self._waiting, default=0) + 1
        with self._lock:
            self._shrink(0)

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, number: int) -> bool:
        return number in self._waiting

    def count(self, stream: str) -> int:
        """How many reports of a stream wait."""
        return self._per_stream[stream]

    def dropped(self, stream: str) -> int:
        """How many reports of a stream were given up so far, over restarts too: there was no room for them, or they
        were refused, for good or for too long.
        """
        return self._dropped[stream]

    def append(self, stream: str, body: bytes) -> int:
        """Keep a report at the end, dropping the oldest where there is no room; its number. Raises OSError."""
        with self._lock:
            waiting = Waiting(self._next, stream, len(body))
            self._shrink(len(body))
            try:
                write_durably(self._folder / waiting.file_name, body)
            except OSError:
                _clear(self._folder)
                self._dropped[stream] += 1
                self._keep_counts()
                raise
            self._next += 1
            self._add(waiting)
            self._catch_up_on_counts()
            return waiting.number

    def find(self, number: int) -> Waiting | None:
        """The report with this number, while it waits."""
        return self._waiting.get(number)

    def oldest(self, passed_over: Collection[str] = ()) -> tuple[Waiting, bytes] | None:
        """The report to deliver next and its body, of a stream that is not passed over; one whose file is gone is forgotten."""
        with self._lock:
            while True:
                found = next((one for one in self._waiting.values() if one.stream not in passed_over), None)
                if found is None:
                    return None
                body = self._read(found)
                if body is not None:
                    return found, body

    def newest(
        self, sent: Mapping[str, int], passed_over: Collection[str] = ()
    ) -> tuple[Waiting, bytes] | None:
        """A stream's newest report and its body, where it is newer than what was `sent` of that stream (its number)."""
        with self._lock:
            for stream, number in self._newest.items():
                waiting = self._waiting.get(number)
                if waiting is not None and number > sent.get(stream, 0) and stream not in passed_over:
                    body = self._read(waiting)
                    if body is not None:
                        return waiting, body
            return None

    def remove(self, number: int) -> None:
        """Forget a report: it was delivered."""
        with self._lock:
            waiting = self._waiting.get(number)
            if waiting is not None:
                self._remove(waiting)
                self._catch_up_on_counts()

    def give_up(self, number: int) -> None:
        """Forget a report that was refused for good, and count it as dropped."""
        with self._lock:
            waiting = self._waiting.get(number)
            if waiting is not None:
                self._remove(waiting)
                self._dropped[waiting.stream] += 1
                self._keep_counts()

    def drop(self, stream: str) -> list[int]:
        """Forget all reports of a stream, uncounted; their numbers."""
        with self._lock:
            return self._drop(list(self._of(stream)))

    def drop_older(self, stream: str, before: datetime) -> list[int]:
        """Forget the reports of a stream that were kept before that time, and count them as dropped; their numbers."""
        with self._lock:
            limit = before.timestamp()
            numbers = self._drop(list(takewhile(lambda one: self._kept_at(one) < limit, self._of(stream))))
            if numbers:
                self._dropped[stream] += len(numbers)
                self._keep_counts()
            return numbers

    def _of(self, stream: str) -> Iterator[Waiting]:
        return (one for one in self._waiting.values() if one.stream == stream)

    def _drop(self, reports: Sequence[Waiting]) -> list[int]:
        for waiting in reports:
            self._remove(waiting)
        return [waiting.number for waiting in reports]

    def _kept_at(self, waiting: Waiting) -> float:
        """When it was written, in seconds since 1970; a file that is gone was never."""
        try:
            return (self._folder / waiting.file_name).stat().st_mtime
        except OSError:
            return 0.0

    def _read(self, waiting: Waiting) -> bytes | None:
        try:
            return (self._folder / waiting.file_name).read_bytes()
        except OSError as error:
            log.error("cannot read the spooled report %s: %s", waiting.file_name, error.strerror)
            self._remove(waiting)
            return None

    def _add(self, waiting: Waiting) -> None:
        self._waiting[waiting.number] = waiting
        self._newest[waiting.stream] = waiting.number
        self._per_stream[waiting.stream] += 1
        self._bytes += waiting.size_bytes

    def _remove(self, waiting: Waiting) -> None:
        (self._folder / waiting.file_name).unlink(missing_ok=True)
        del self._waiting[waiting.number]
        self._per_stream[waiting.stream] -= 1
        self._bytes -= waiting.size_bytes
        if not self._per_stream[waiting.stream]:
            del self._per_stream[waiting.stream], self._newest[waiting.stream]

    def _shrink(self, wanted_bytes: int) -> None:
        dropped = 0
        limit = self._max_reports - (1 if wanted_bytes else 0)
        while self._waiting and (self._bytes + wanted_bytes > self._max_bytes or len(self._waiting) > limit):
            oldest = next(iter(self._waiting.values()))
            self._remove(oldest)
            self._dropped[oldest.stream] += 1
            dropped += 1
        if dropped:
            log.warning("dropped the %d oldest spooled reports: the spool is full", dropped)
            self._keep_counts()

    def _keep_counts(self) -> None:
        try:
            write_durably(self._dropped_file, json.dumps(self._dropped).encode())
            self._counts_are_kept = True
        except OSError as error:
            if self._counts_are_kept:
                log.error("cannot keep the number of dropped reports, will try again: %s", error.strerror)
            self._counts_are_kept = False

    def _catch_up_on_counts(self) -> None:
        """Where there was no room for them: there may be some now."""
        if not self._counts_are_kept:
            self._keep_counts()


def _read_counts(path: Path) -> Counter[str]:
    try:
        content = json.loads(path.read_bytes())
        return Counter({str(stream): int(count) for stream, count in content.items()})
    except FileNotFoundError:
        return Counter()
    except (OSError, ValueError, TypeError, AttributeError) as error:
        log.error("cannot read %s, counting anew: %s", path.name, type(error).__name__)
        return Counter()


def _clear(folder: Path) -> None:
    """Remove what was left half written: the little room that it takes may be all that there is."""
    with contextlib.suppress(OSError):
        for path in folder.glob(".*.partial"):
            path.unlink(missing_ok=True)


def _scan(folder: Path) -> list[Waiting]:
    found = []
    for path in sorted(folder.iterdir()):
        number, _, rest = path.name.partition(".")
        if number.isdigit() and rest.endswith(".json"):
            found.append(Waiting(int(number), rest.removesuffix(".json"), path.stat().st_size))
        else:
            path.unlink(missing_ok=True)  # what a crash left half written
    return found
