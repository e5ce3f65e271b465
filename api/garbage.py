"""Python's garbage collector in a process that reads many reports: https://docs.python.org/3/library/gc.html"""

import gc

ALLOCATED = 20_000
"""A report is some hundred objects that nobody refers to in a circle: by default the collector would look through what
is just being read with every tenth one of them."""


def spare_collections() -> None:
    """Leave out for good what is there now, which stays (it would take some 50 ms each time), and look for garbage seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATED, 10, 10)
