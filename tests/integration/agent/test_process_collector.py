"""TEST-003: the process collector says of real processes what `ps` says."""

import os
import subprocess
import time
from datetime import UTC, datetime

import pytest

from agent.processes.collector import ProcessCollector
from agent.wire.processes import Rule
from tests.real_processes import Processes, wait_until

PS_STATES = {"R": "running", "S": "sleeping", "D": "disk_sleep", "T": "stopped", "Z": "zombie", "I": "idle"}

T = f"{os.getpid():x}"
"""In every name, so that two runs of these tests at once don't see each other's processes."""

BUSY = f"print(1, flush=True)\nwhile True: pass  # {T}"


@pytest.fixture
def processes(tmp_path):
    started = Processes(tmp_path)
    yield started
    started.end()


def by_name(name):
    return [Rule(type="name", pattern=name, name="r")]


def ps(pid, *columns):
    """One line of ps; the value of each column."""
    format_ = [part for column in columns for part in ("-o", f"{column}=")]
    done = subprocess.run(["ps", "-ww", "-p", str(pid), *format_], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_identity_and_memory_agree_with_ps(processes):
    process = processes.named(f"ps-app{T}", "3600")
    [info] = ProcessCollector().collect(by_name(f"ps-app{T}")).processes
    ppid, state, rss_kb = ps(process.pid, "ppid", "stat", "rss")
    assert (info.pid, info.ppid) == (process.pid, int(ppid))
    assert info.status == PS_STATES[state[0]] == "sleeping"
    assert info.memory_mb == pytest.approx(int(rss_kb) / 1024, abs=0.5)
    assert info.memory_pct == pytest.approx(100 * info.memory_mb / _total_mb(), abs=0.01)
    assert info.cmdline == " ".join(ps(process.pid, "args"))


def test_start_time_agrees_with_ps(processes):
    process = processes.named(f"start-app{T}")
    [info] = ProcessCollector().collect(by_name(f"start-app{T}")).processes
    started = datetime.strptime(" ".join(ps(process.pid, "lstart")), "%a %b %d %H:%M:%S %Y").astimezone(UTC)
    assert abs((info.start_time - started).total_seconds()) <= 2


def test_every_process_that_ps_sees_is_found():
    collector = ProcessCollector(own_pids=set)

    def agrees():
        listed = subprocess.run(
            ["ps", "-e", "-o", "pid=,comm="], capture_output=True, text=True, check=True
        ).stdout
        seen = {int(line.split()[0]) for line in listed.splitlines()}
        found = {p.pid for p in collector.collect(by_name("*"), fresh=True).processes}
        later = {int(name) for name in os.listdir("/proc") if name.isdigit()}
        return (seen & later) <= (found | {p for p in seen if p not in later}) and len(found) > 1

    assert wait_until(agrees)


def test_cpu_is_null_at_first_and_then_measured_between_two_samples(processes):
    busy = processes.python(BUSY, stdout=subprocess.PIPE)
    busy.stdout.readline()
    idle = processes.named(f"idle-app{T}")
    collector = ProcessCollector()
    rules = [Rule(type="cmdline", pattern=f"while True: pass  # {T}", name="busy"), *by_name(f"idle-app{T}")]
    first = {p.pid: p for p in collector.collect(rules).processes}
    assert first[busy.pid].cpu_percent is None

    def measured():
        time.sleep(0.5)
        found = {p.pid: p.cpu_percent for p in collector.collect(rules).processes}
        return found if (found.get(busy.pid) or 0) > 1 else None

    percents = wait_until(measured)
    assert percents[busy.pid] <= 110
    assert percents[idle.pid] < 5


def test_without_resources_cpu_and_memory_are_null(processes):
    processes.named(f"plain-app{T}")
    [info] = ProcessCollector().collect(by_name(f"plain-app{T}"), resources=False).processes
    assert (info.cpu_percent, info.memory_mb, info.memory_pct) == (None, None, None)


def test_identity_is_stable_and_changes_with_a_restart(processes):
    collector = ProcessCollector()
    processes.named(f"stable-app{T}")
    one, two = (collector.collect(by_name(f"stable-app{T}")) for _ in range(2))
    identities = {(c.boot_id, c.processes[0].pid, c.processes[0].start_ticks) for c in (one, two)}
    assert len(identities) == 1
    assert one.processes[0].start_time == two.processes[0].start_time


def test_output_to_a_pipe_of_the_agent_is_told(processes):
    piped = processes.named(f"piped-app{T}", stdout=subprocess.PIPE)
    [info] = ProcessCollector().collect(by_name(f"piped-app{T}")).processes
    assert info.pid == piped.pid
    assert info.survives_agent_stop is False
    assert "pipe" in info.survival_reason


def test_process_in_a_session_of_its_own_survives_the_agent(processes):
    processes.named(f"own-session{T}", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    [info] = ProcessCollector().collect(by_name(f"own-session{T}")).processes
    if (
        info.survives_agent_stop is not True
    ):  # these tests may themselves run inside a unit that systemd kills as a whole
        assert "KillMode" in info.survival_reason
    else:
        assert "session of its own" in info.survival_reason or "KillMode" in info.survival_reason
    assert info.survives_reboot is False


def _total_mb():
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1024**2
