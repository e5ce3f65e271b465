"""What is watched, and what is only listed."""

import threading
from contextlib import contextmanager

import pytest

from agent.pods.collector import PodCollector
from agent.pods.listing import Selection
from agent.pods.watching import PodWatch
from agent.wire.pods import MAX_PODS
from tests.real_processes import wait_until

POD = {"metadata": {"name": "web-1", "namespace": "shop", "uid": "u1"}}


class Crowded:
    """Has more pods than an answer carries, until it is told otherwise."""

    def __init__(self):
        self.items = [POD] * (MAX_PODS + 1)
        self.lists = self.watches = 0
        self._done = threading.Event()

    def version(self):
        return None

    def get(self, *_asked):
        self.lists += 1
        return {"items": self.items, "metadata": {"resourceVersion": "7"}}

    @contextmanager
    def stream(self, *_asked):
        self.watches += 1
        yield self

    def __iter__(self):
        assert self._done.wait(60)
        return iter(())

    def shutdown(self):
        self._done.set()


@pytest.fixture
def crowded():
    return Crowded()


@pytest.fixture
def collector(crowded):
    collector = PodCollector(crowded)
    yield collector
    collector.close()


def no_watch_is_there():
    return "pod-watch" not in {one.name for one in threading.enumerate()}


def test_too_many_pods_are_listed_once_for_each_answer(crowded, collector):
    wait_until(no_watch_is_there)
    for _ in range(3):
        assert collector.collect(Selection()).truncated
    wait_until(no_watch_is_there)
    assert crowded.lists == 3, "a watch that ends at once lists them all once more"


def test_watch_of_too_many_pods_ends_with_its_list(crowded):
    watch = PodWatch(crowded, Selection()).start()
    wait_until(no_watch_is_there)
    assert watch.ended
    assert (crowded.lists, crowded.watches) == (1, 0)


def test_pods_are_watched_once_they_are_few_enough(crowded, collector):
    for _ in range(2):
        collector.collect(Selection())
    crowded.items = [POD]
    collector.collect(Selection())
    assert not collector.collect(Selection()).truncated
    wait_until(lambda: crowded.watches)
