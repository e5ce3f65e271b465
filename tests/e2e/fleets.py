"""A fleet of processes for as long as a test needs it, and nothing of it afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

from deployments.demo.fleet import Fleet
from deployments.demo.leftovers import stop_applications

SHORT = {
    "HOIST_RETRY_WINDOW_S": "3",
    "HOIST_LEASE_TTL_S": "6",
    "HOIST_LEASE_RENEW_S": "1.5",
}
"""Times that a test would otherwise sit out."""


@contextmanager
def running(fleet: Fleet) -> Iterator[Fleet]:
    """The fleet, started; stopped at the end, with the applications that it deployed."""
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.stop()
        stop_applications(fleet.root, patience_s=1)
