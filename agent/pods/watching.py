"""A watch on a selection of pods: a list that is kept up to date by what the cluster tells, over cuts and 410s."""

import json
import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from agent.pods.cluster import Cluster
from agent.pods.describing import describe
from agent.pods.errors import ClusterError, ClusterRefused, ClusterUnavailable
from agent.pods.listing import GONE, Selection, list_pods
from agent.wire.pods import MAX_PODS, PodInfo

SILENCE_S = 90.0
"""The cluster sends a bookmark about every minute: a connection that is silent for longer is dead."""
SERVER_TIMEOUT_S = (240, 300)
"""After which the cluster ends a watch by itself; spread, so that many do not begin anew together."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
LASTING_S = 5.0
"""A watch that lasted so long is followed by the next at once; a cluster that ends each at once is not asked without a pause."""
FORGIVEN_S = 5.0
"""What was missed for longer isn't waited for: the cluster does not say when all of it has come, and until then answers would
be as old as the cut. The watch begins anew."""
IDLE_S = 600.0
"""A watch that nobody has asked for this long ends."""

log = logging.getLogger("agent.pods")


class _Expired(Exception):
    """What the watch was to go on from is forgotten: list anew."""


class PodWatch:
    """Has a thread of its own from `start` to its end: stopped, idle, or with more pods than `most`."""

    def __init__(
        self,
        cluster: Cluster,
        selection: Selection,
        *,
        most: int = MAX_PODS,
        silence_s: float = SILENCE_S,
        idle_s: float = IDLE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster, self._selection, self._most = cluster, selection, most
        self._silence_s, self._idle_s, self._clock = silence_s, idle_s, clock
        self._lock = threading.Lock()
        self._pods: dict[str, PodInfo] = {}
        self._version = ""
        self._in_step = False
        self._in_step_at = self._asked_at = clock()
        self._stopping = threading.Event()
        self._response: Any = None
        self._thread = threading.Thread(target=self._run, name="pod-watch", daemon=True)
        self.lists = 0
        """How often it had to begin from a list."""

    def start(self) -> "PodWatch":
        """Begin to watch."""
        self._thread.start()
        return self

    @property
    def ended(self) -> bool:
        """Whether it will never be in step again."""
        return self._stopping.is_set()

    def pods(self) -> tuple[PodInfo, ...] | None:
        """What there is now; None where the watch is not in step with the cluster: then only a list tells."""
        self._asked_at = self._clock()
        with self._lock:
            return tuple(self._pods.values()) if self._in_step else None

    def stop(self) -> None:
        """Have the thread end soon."""
        self._stopping.set()
        response = self._response
        if response is not None:
            with suppress(OSError, ValueError, RuntimeError):
                response.shutdown()

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stopping.is_set():
            began, ended_well = self._clock(), False
            try:
                if not self._version:
                    self._begin_anew()
                if not self._stopping.is_set():
                    self._follow()
                ended_well = True
            except _Expired:
                self._version, ended_well = "", True
            except ClusterError as error:
                log.info("cannot watch %s, will try again: %s", self._selection.words, error)
            except Exception:  # whatever it was, the pods are watched on
                log.exception("cannot watch %s, will begin anew", self._selection.words)
                self._version = ""
            finally:
                self._lose_step()
            self._end_if_idle()
            if self._clock() - began >= LASTING_S:
                pause_s = FIRST_PAUSE_S
                if ended_well:
                    self._in_step_at = self._clock()
                    continue
            self._stopping.wait(pause_s * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def _begin_anew(self) -> None:
        self.lists += 1
        listed = list_pods(self._cluster, self._selection, self._most)
        if listed.truncated:
            log.warning("more than %d %s: not watched, only listed", self._most, self._selection.words)
            self._stopping.set()
            return
        with self._lock:
            self._pods = {pod.uid: pod for pod in listed.pods}
        self._version, self._in_step_at = listed.resource_version, self._clock()

    def _follow(self) -> None:
        """From where it is until the cluster ends the watch. Raises _Expired, and what the cluster does."""
        query = [
            *self._selection.query,
            *(("watch", "true"), ("allowWatchBookmarks", "true"), ("resourceVersion", self._version)),
            ("timeoutSeconds", str(random.randint(*SERVER_TIMEOUT_S))),  # noqa: S311 - no secret
        ]
        # How long the cluster takes to answer is not counted: what happens meanwhile comes with the answer.
        missed_too_much = self._clock() - self._in_step_at > FORGIVEN_S
        try:
            with self._cluster.stream(
                f"watch {self._selection.words}", self._selection.path, query, self._silence_s
            ) as response:
                self._response = response
                if missed_too_much:
                    raise _Expired
                with self._lock:
                    self._in_step = not self._stopping.is_set()
                for line in response:
                    self._take(line)
                    self._end_if_idle()
                    if self._stopping.is_set():
                        return
        except ClusterRefused as refused:
            if refused.status == GONE:
                raise _Expired from refused
            raise
        finally:
            self._response = None
            self._lose_step()

    def _take(self, line: bytes) -> None:
        try:
            event = json.loads(line)
            kind, document = event["type"], event["object"]
        except (ValueError, KeyError, TypeError) as error:
            raise ClusterUnavailable("its watch was cut in the middle of an event") from error
        if kind == "ERROR":
            if document.get("code") == GONE:
                raise _Expired
            raise ClusterUnavailable(f"its watch ends with an error: {document.get('message')}"[:300])
        if kind in ("ADDED", "MODIFIED"):
            pod = describe(document)
            with self._lock:
                self._pods[pod.uid] = pod
        elif kind == "DELETED":
            with self._lock:
                self._pods.pop(document["metadata"]["uid"], None)
        self._version, self._in_step_at = document["metadata"]["resourceVersion"], self._clock()
        if len(self._pods) > self._most:
            log.warning("more than %d %s: not watched any more", self._most, self._selection.words)
            self._stopping.set()

    def _lose_step(self) -> None:
        with self._lock:
            self._in_step = False

    def _end_if_idle(self) -> None:
        if self._clock() - self._asked_at > self._idle_s:
            self._stopping.set()
