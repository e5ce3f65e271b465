"""A cluster, or a proxy before it, that ends each watch at once is not asked without a pause."""

import time
from contextlib import contextmanager

import pytest

from agent.pods.listing import Selection
from agent.pods.watching import PodWatch

GONE = b'{"type": "ERROR", "object": {"code": 410, "message": "too old"}}'


class Ending:
    """Lists no pods; each of its watches has these lines, and is over."""

    def __init__(self, *lines: bytes) -> None:
        self._lines = lines
        self.lists = self.watches = 0

    def get(self, *_asked):
        self.lists += 1
        return {"items": [], "metadata": {"resourceVersion": "7"}}

    @contextmanager
    def stream(self, *_asked):
        self.watches += 1
        yield iter(self._lines)


@pytest.mark.parametrize("lines", [(), (GONE,)], ids=["ends at once", "has forgotten at once"])
def test_watch_that_is_ended_at_once_is_begun_again_after_a_pause(lines):
    cluster = Ending(*lines)
    watch = PodWatch(cluster, Selection()).start()
    time.sleep(1.0)
    watch.stop()
    assert 1 <= cluster.watches <= 3, "the pauses are half a second, a second, two …"
    assert cluster.lists <= 3
