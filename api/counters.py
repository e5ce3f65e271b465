"""Counts of this process, for /metrics."""

import threading
from collections import Counter


class Counters:
    """Counts by name and labels; safe to share by threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()

    def count_request(self, method: str, status: int) -> None:
        """One more request of that method, answered with that status."""
        known = method if method in ("GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS") else "other"
        with self._lock:
            self._requests[known, status] += 1

    def requests(self) -> dict[tuple[str, int], int]:
        """How many requests of each method were answered with each status."""
        with self._lock:
            return dict(self._requests)
