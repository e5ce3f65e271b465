"""A fleet of agents in simulated time: the agents' own watch, spool and delivery, with senders that a test provides."""

import asyncio
import random
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.monitors.delivery import Delivery
from agent.monitors.reporting import Reporting
from agent.monitors.spool import Spool
from agent.monitors.watching import Watch
from agent.processes.exits import Room
from agent.wire.monitors import Monitor
from agent.wire.processes import Collected

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
UNDER_WAY_S = 5.0
"""What was made in the last moment arrives, too."""


def simulated_now():
    """The simulated time of day."""
    return BEGAN + timedelta(seconds=asyncio.get_running_loop().time())


class NothingRuns:
    """A collector on a host without processes; when it looked is in what it collects."""

    async def collect_in_thread(self, rules, *, resources=True, fresh=False):
        return Collected(collected_at=simulated_now())


@pytest.fixture
def disk() -> Iterator[Path]:
    """Where a sync costs nothing: a thousand of them are not what is tested."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def monitor(project_id, interval_s, **config):
    return Monitor(
        project_id=project_id,
        version="1.4",
        release_id="t",
        process_config={"collect_interval": interval_s, **config},
    )


async def run_fleet(api, disk, monitors, *, end_s, collectors=None, **bounds):
    """An agent for each monitor; the spools when it is over."""
    chance, spools, watches, deliveries = random.Random(7), [], [], []
    for number, watched in enumerate(monitors):
        spool = Spool(disk / f"agent-{number}", **bounds)
        delivery = Delivery(spool, api.sender(), chance.uniform)
        collector = collectors[number] if collectors else NothingRuns()
        reporting = Reporting(f"web-{number}", collector, spool, delivery)
        watch = Watch(watched, reporting, Room(0))
        watches.append(asyncio.create_task(watch.run()))
        deliveries.append(asyncio.create_task(delivery.run(3.0)))
        spools.append(spool)
    await asyncio.sleep(end_s)
    for tasks in (watches, deliveries):
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(UNDER_WAY_S)
    return spools
