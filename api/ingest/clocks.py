"""Clients' clocks: a report is made by its client's, and judged, and shown, by the API's.

An agent says with each report what its clock is as it sends it (the header `Date`, RFC 9110 section 6.6.1). Where that is
off, the report's time is put right by the difference; its age stays what its sender says. Without the header it is taken
as it is.
"""

import logging
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

TOLERATED = timedelta(seconds=2)
"""A report is on its way for a while, and the header knows no less than a second."""
LOGGED = timedelta(seconds=10)
"""Less may be a slow connection's doing."""
HALF_A_SECOND = timedelta(seconds=0.5)
MAX_CLIENTS = 50_000

log = logging.getLogger("api")


@dataclass(frozen=True, slots=True)
class _Clock:
    """How much it is behind, as measured when it was last found to be another; its last report's time, before and after."""

    behind: timedelta
    said: datetime
    right: datetime


class Clocks:
    """What one API process knows of its clients' clocks. Safe to share by threads."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], _Clock] = {}
        self._lock = threading.Lock()

    def put_right(
        self, whose: tuple[str, str], said: datetime, sent_at: datetime, received_at: datetime
    ) -> tuple[datetime, bool]:
        """When a report was made, by the API's clock, that its sender `said` was made then; and whether that one's is off.

        `whose`: the token's name, and the client. What a client said is later, is no earlier afterwards: how long a report
        was on its way is not always the same.
        """
        measured = received_at - sent_at
        with self._lock:
            known = self._known.pop(whose, None)
            behind = known.behind if known is not None else timedelta(0)
            if abs(measured - behind) > TOLERATED:
                behind = measured if abs(measured) > TOLERATED else timedelta(0)
                if abs(behind) >= LOGGED:
                    log.warning("the clock of %s is %+.0f s off", whose[1], -behind.total_seconds())
            right = min(_moved(said, behind), received_at)
            if known is not None and said >= known.said:
                right = max(right, known.right)
            self._known[whose] = _Clock(behind, said, right)
            if len(self._known) > MAX_CLIENTS:
                del self._known[next(iter(self._known))]
        return right, bool(behind)


def read_date(header: str | None) -> datetime | None:
    """The time that the header says; None where it says none."""
    if header is None:
        return None
    try:
        said = parsedate_to_datetime(header)
        return (said if said.tzinfo is not None else said.replace(tzinfo=UTC)) + HALF_A_SECOND
    except (ValueError, TypeError, OverflowError):
        return None


def _moved(said: datetime, by: timedelta) -> datetime:
    try:
        return said + by
    except OverflowError:
        return said
