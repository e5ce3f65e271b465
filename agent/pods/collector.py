"""The pod collector: lists what is asked for once, and watches what is asked for again and again."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from agent.pods.cluster import Cluster
from agent.pods.listing import Selection, list_pods
from agent.pods.watching import IDLE_S, PodWatch
from agent.wire.pods import CollectedPods, PodInfo

MOST_WATCHES = 8
"""Each keeps a connection, a thread and its pods in memory; what is beyond is listed."""


class PodCollector:
    """Blocking and safe for threads. A selection that is asked for twice within ten minutes is watched from then on, unless
    it has more pods than an answer carries.
    """

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._lock = threading.Lock()
        self._watches: dict[Selection, PodWatch] = {}
        self._asked: dict[Selection, float] = {}

    def collect(self, selection: Selection) -> CollectedPods:
        """The selection's pods, by namespace and name. Raises ClusterUnavailable, ClusterRefused, NoCluster."""
        watch = self.watch_of(selection)
        pods, truncated = (watch.pods() if watch is not None else None), False
        if pods is None:
            listed = list_pods(self._cluster, selection)
            pods, truncated = listed.pods, listed.truncated
            if truncated:
                self._forget(selection)
        return CollectedPods(
            kubernetes=self._cluster.version(),
            pods=tuple(sorted(pods, key=_place_of)),
            collected_at=datetime.now(UTC),
            truncated=truncated,
        )

    def watch_of(self, selection: Selection) -> PodWatch | None:
        """The selection's watch, begun now where it is asked for a second time; None where it has none."""
        now = self._clock()
        with self._lock:
            self._asked = {one: at for one, at in self._asked.items() if now - at < IDLE_S}
            again = selection in self._asked
            self._asked[selection] = now
            self._watches = {one: watch for one, watch in self._watches.items() if not watch.ended}
            watch = self._watches.get(selection)
            if watch is None and again and len(self._watches) < MOST_WATCHES:
                watch = self._watches[selection] = PodWatch(self._cluster, selection).start()
            return watch

    def _forget(self, selection: Selection) -> None:
        """A watch of it would list everything, only to end: none is begun before a list was whole."""
        with self._lock:
            self._asked.pop(selection, None)

    def close(self) -> None:
        """End every watch."""
        with self._lock:
            for watch in self._watches.values():
                watch.stop()
            self._watches.clear()


def _place_of(pod: PodInfo) -> tuple[str, str]:
    return pod.namespace, pod.name
