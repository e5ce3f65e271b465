"""Real processes end and come back: the release API hears of it at once, not at the next interval."""

import asyncio
import errno
import os
import shutil
import signal
import time

import pytest

from agent.monitors.building import build_monitors, build_reporting
from agent.monitors.looks import BURST, REFILL_S
from agent.processes.collector import ProcessCollector
from agent.processes.exits import Exits, Room
from agent.settings import AgentSettings
from agent.wire.monitors import PutMonitor
from agent.wire.releases import VersionProbe
from tests.agents import AgentProcess, start_ticks
from tests.real_processes import PATIENCE_S, Processes, wait_until
from tests.report_receiver import api

__all__ = ["api"]

WITHIN_S, TRIES = 1.0, 4
"""An exit is reported within a second; a busy machine gets more than one try."""
BUSY_S = 3.0
"""So much more does a busy machine get for what takes several seconds."""


@pytest.fixture
def processes(tmp_path):
    started = Processes(tmp_path)
    yield started
    started.end()


@pytest.fixture
async def monitors(tmp_path, api):
    settings = AgentSettings("web-01", tmp_path / "state", "the-agents-own-token-0123", api_url=api.url)
    settings.state_dir.mkdir()
    reporting = build_reporting(settings, ProcessCollector(own_pids=set))
    monitors = build_monitors(settings, reporting)
    async with monitors.lifespan():
        yield monitors


def put(*names, interval=3600):
    rules = [{"type": "cmdline", "pattern": f"{name} 3600", "name": name} for name in names]
    return PutMonitor(
        version="1.0", release_id="t", process_config={"rules": rules, "collect_interval": interval}
    )


async def until(read):
    async with asyncio.timeout(PATIENCE_S):
        while not (value := read()):
            await asyncio.sleep(0.005)
    return value


def kill(process):
    process.kill()
    process.wait()


def pids(report):
    return [process["pid"] for process in report["processes"]]


def wants_a_try(*took_s):
    """Whether one of these was never quick enough yet, and may be tried again."""
    return any(not each or (min(each) > WITHIN_S and len(each) < TRIES) for each in took_s)


async def test_killed_process_is_reported_within_a_second_and_so_is_its_return(api, monitors, processes):
    web = processes.named("hoist-shop-web")
    await monitors.put("shop", put("hoist-shop-web"))
    await until(lambda: api.reports)
    exits_s, returns_s = [], []
    while wants_a_try(exits_s, returns_s):
        had, begun = len(api.reports), time.monotonic()
        kill(web)
        gone = await until(lambda: next((r for r in api.reports[had:] if r["unmatched_rules"]), None))  # noqa: B023
        exits_s.append(time.monotonic() - begun)
        assert (gone["unmatched_rules"], gone["processes"]) == (["hoist-shop-web"], [])
        begun, web = time.monotonic(), processes.named("hoist-shop-web")
        back = await until(lambda: next((r for r in api.reports if web.pid in pids(r)), None))  # noqa: B023
        returns_s.append(time.monotonic() - begun)
        assert back["unmatched_rules"] == []
    print(f"exits were reported after {exits_s} s, returns after {returns_s} s")
    assert min(exits_s) <= WITHIN_S
    assert min(returns_s) <= WITHIN_S
    assert max(returns_s) < 5 + BUSY_S
    kill(web)  # the new one is watched, too
    await until(lambda: api.reports[-1]["unmatched_rules"])


async def test_what_stays_away_is_confirmed_once_a_second_later(api, monitors, processes):
    web = processes.named("hoist-shop-web")
    await monitors.put("shop", put("hoist-shop-web"))
    await until(lambda: api.reports)
    kill(web)
    await asyncio.sleep(4)
    assert [len(report["processes"]) for report in api.reports] == [1, 0, 0]
    first, second = (report["reported_at"] for report in api.reports[1:])
    assert first < second


async def test_many_exits_in_a_moment_are_one_or_two_reports(api, monitors, processes):
    names = [f"hoist-shop-w{n}" for n in range(20)]
    workers = [processes.named(name) for name in names]
    await monitors.put("shop", put(*names))
    await until(lambda: api.reports)
    for worker in workers:
        worker.send_signal(signal.SIGKILL)
    for worker in workers:
        worker.wait()
    await until(lambda: len(api.reports[-1]["unmatched_rules"]) == 20)
    assert len(api.reports) <= 3


async def test_crash_loop_makes_a_bounded_number_of_reports(api, monitors, processes, tmp_path):
    shutil.copy2("/bin/sleep", tmp_path / "hoist-crasher")
    # The first one is there for long enough that the first look finds it; the next would be in an hour.
    script = '"$0" 3; while true; do "$0" 0.3; done'
    loop = processes.start(["/bin/sh", "-c", script, str(tmp_path / "hoist-crasher")])
    rules = [{"type": "name", "pattern": "hoist-crasher", "name": "r"}]
    config = {"rules": rules, "collect_interval": 3600}
    await monitors.put("shop", PutMonitor(version="1.0", release_id="t", process_config=config))
    await asyncio.sleep(15)
    kill(loop)
    print(f"{len(api.reports)} reports of some 40 crashes in 15 s")
    assert 5 <= len(api.reports) <= 1 + BURST + 15 / REFILL_S + 1


async def test_slow_probe_does_not_keep_an_exit_waiting(api, monitors, processes):
    probe = VersionProbe(type="command", command="sleep 8 && echo 1.0", timeout_s=10)
    took_s = []
    while wants_a_try(took_s):
        api.reports.clear()
        web = processes.named("hoist-shop-web")
        await monitors.put("shop", put("hoist-shop-web").model_copy(update={"version_probe": probe}))
        await asyncio.sleep(2)
        assert api.reports == []  # it waits for the probe
        begun = time.monotonic()
        kill(web)
        await until(lambda: api.reports)
        took_s.append(time.monotonic() - begun)
        assert api.reports[0]["unmatched_rules"] == ["hoist-shop-web"]
        await monitors.delete("shop")
    print(f"exits during a probe were reported after {took_s} s")
    assert min(took_s) <= WITHIN_S


async def test_without_pidfd_processes_are_asked_every_second(processes):
    ended = asyncio.Event()

    def refuse(_pid):
        raise OSError(errno.ENOSYS, "no such call")

    web = processes.named("hoist-shop-web")
    exits = Exits(ended.set, Room(), refuse)
    exits.follow([(web.pid, start_ticks(web.pid))])
    await asyncio.sleep(1.5)
    assert not ended.is_set()
    kill(web)
    await asyncio.wait_for(ended.wait(), PATIENCE_S)
    exits.close()


async def test_number_that_is_another_process_by_now_counts_as_an_exit(processes):
    """A pid that was given out again has another start: it is not followed in the old one's place."""
    told = []
    web = processes.named("hoist-shop-web")
    exits = Exits(lambda: told.append(1), Room())
    ticks = start_ticks(web.pid)
    exits.follow([(web.pid, ticks - 1)])
    assert told == [1]
    exits.follow([(web.pid, ticks)])
    kill(web)
    await until(lambda: len(told) == 2)
    exits.follow([(web.pid, ticks)])
    assert len(told) == 3
    exits.close()


async def test_no_more_descriptors_than_there_is_room_for(processes):
    told, room = [], Room(2)
    three = [processes.named(f"hoist-shop-w{n}") for n in range(3)]
    exits = Exits(lambda: told.append(1), room)
    before = len(os.listdir("/proc/self/fd"))
    identities = [(one.pid, start_ticks(one.pid)) for one in three]
    exits.follow(identities)
    assert (room.left, len(os.listdir("/proc/self/fd"))) == (0, before + 2)
    exits.follow(identities[2:])
    assert room.left == 1
    kill(three[2])
    await until(lambda: told)
    assert room.left == 2
    exits.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_killed_agent_goes_on_after_its_restart_and_tells_what_ended_meanwhile(tmp_path, api, processes):
    web = processes.named("hoist-shop-web")
    agent = AgentProcess(tmp_path, HOIST_AGENT_API_URL=api.url)
    try:
        agent.start()
        body = put("hoist-shop-web").model_dump(mode="json")
        assert agent.http.put("/v1/monitors/shop", json=body).status_code == 200
        wait_until(lambda: api.reports)
        agent.kill()
        kill(web)
        agent.start()
        begun = time.monotonic()
        wait_until(lambda: api.reports[-1]["unmatched_rules"])
        print(f"after a restart it was reported within {time.monotonic() - begun:.1f} s")
        assert time.monotonic() - begun < 3 + BUSY_S
        again = processes.named("hoist-shop-web")
        # Nothing ended while this agent ran: the return is seen at the interval, or when the monitor is put anew.
        assert agent.http.put("/v1/monitors/shop", json=body).status_code == 200
        wait_until(lambda: again.pid in pids(api.reports[-1]))
        kill(again)
        wait_until(lambda: api.reports[-1]["unmatched_rules"])
    finally:
        agent.close()
