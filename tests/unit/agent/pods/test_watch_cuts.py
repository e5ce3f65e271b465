"""A watch that missed something is not believed before it has that."""

import json
import threading
from contextlib import contextmanager

import pytest

from agent.pods.errors import ClusterUnavailable
from agent.pods.listing import Selection
from agent.pods.watching import PodWatch
from tests.real_processes import wait_until


def pod(name, version):
    metadata = {"name": name, "namespace": "shop", "uid": name, "resourceVersion": version}
    return {"metadata": metadata, "spec": {"containers": [{"name": "app", "image": "shop:1"}]}}


def line(kind, document):
    return json.dumps({"type": kind, "object": document}).encode()


BOOKMARK = line("BOOKMARK", {"metadata": {"resourceVersion": "7"}})
MISSED = {"7": [line("DELETED", pod("old", "8")), line("ADDED", pod("new", "9"))], "9": []}


def names(watch):
    found = watch.pods()
    return None if found is None else {one.name for one in found}


class Cut:
    """Has the pod `old` until its first watch is over, then `new` in its place.

    That watch lasts `lasted_s`, and `away_s` pass until the next one, which is tried in vain once; `sign`: at its end it has a bookmark, or has ended well
    instead of being cut. What is answered once the next one is there, before its first line, is in `at_once`.
    """

    def __init__(self, lasted_s, away_s, sign=""):
        self._lasted_s, self._away_s, self._sign = lasted_s, away_s, sign
        self.now = 1000.0
        self.lists = self.watches = 0
        self.over, self._done = threading.Event(), threading.Event()
        self.at_once = []
        self.watch = PodWatch(self, Selection(), clock=lambda: self.now)

    def get(self, *_asked):
        self.lists += 1
        there = pod("new", "9") if self.over.is_set() else pod("old", "7")
        return {"items": [there], "metadata": {"resourceVersion": there["metadata"]["resourceVersion"]}}

    @contextmanager
    def stream(self, _what, _path, query, _silence_s):
        self.watches += 1
        if self.watches == 2:
            self.now += self._away_s
            raise ClusterUnavailable("away")
        self._version = dict(query)["resourceVersion"]
        yield self

    def __iter__(self):
        yield from self._first() if self.watches == 1 else self._next()

    def shutdown(self):
        self._done.set()

    def _first(self):
        assert self.over.wait(60)
        self.now += self._lasted_s
        if self._sign == "bookmark":
            yield BOOKMARK
        if self._sign != "ended well":
            raise ClusterUnavailable("cut")

    def _next(self):
        self.at_once.append(names(self.watch))
        yield from MISSED[self._version]
        assert self._done.wait(60)


@pytest.mark.parametrize(
    "cut",
    [(0, 120), (90, 0.5), (90, 6, "bookmark"), (240, 6, "ended well")],
    ids=["cut for minutes", "silent", "long after a bookmark", "long after its end"],
)
def test_watch_that_was_cut_for_long_begins_anew_and_answers_nothing_old(cut):
    cluster = Cut(*cut)
    watch = cluster.watch.start()
    try:
        wait_until(lambda: names(watch) == {"old"})
        cluster.over.set()
        wait_until(lambda: names(watch) == {"new"})
        wait_until(lambda: cluster.at_once)
        assert cluster.at_once == [{"new"}], "as old as the cut"
        assert cluster.lists == 2
    finally:
        watch.stop()


@pytest.mark.parametrize(
    "cut",
    [(0, 2), (90, 2, "bookmark"), (240, 2, "ended well")],
    ids=["cut", "soon after a bookmark", "soon after its end"],
)
def test_watch_that_was_cut_for_a_moment_goes_on(cut):
    cluster = Cut(*cut)
    watch = cluster.watch.start()
    try:
        wait_until(lambda: names(watch) == {"old"})
        cluster.over.set()
        wait_until(lambda: names(watch) == {"new"})
        assert cluster.lists == 1
    finally:
        watch.stop()


class SlowToAnswer:
    """Takes six seconds to answer a watch, with what has changed meanwhile."""

    def __init__(self):
        self.now, self.lists, self.done = 1000.0, 0, threading.Event()
        self.watch = PodWatch(self, Selection(), clock=lambda: self.now)

    def get(self, *_asked):
        self.lists += 1
        return {"items": [pod("old", "7")], "metadata": {"resourceVersion": "7"}}

    @contextmanager
    def stream(self, *_asked):
        self.now += 6
        yield self

    def __iter__(self):
        yield from MISSED["7"]
        assert self.done.wait(60)

    def shutdown(self):
        self.done.set()


def test_watch_that_takes_long_to_be_answered_is_not_begun_anew():
    cluster = SlowToAnswer()
    watch = cluster.watch.start()
    try:
        wait_until(lambda: names(watch) == {"new"})
        assert cluster.lists == 1
    finally:
        watch.stop()
