from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.processes.clock import TICKS_PER_SECOND, BootClock
from agent.processes.pidfiles import PidFile, parse_pid
from agent.processes.samples import CpuSamples, Sample, memory_pct, next_sample
from agent.processes.stat import parse_stat


def stat(cpu_ticks=0, start_ticks=5, pid=1):
    return parse_stat(
        f"{pid} (a) S 1 1 1 0 -1 0 0 0 0 0 {cpu_ticks} 0 0 0 20 0 1 0 {start_ticks} 0 1 0".encode()
    )


def test_first_sample_has_no_per_cent():
    assert CpuSamples().percent(stat(100), 10.0) is None


def test_per_cent_is_of_one_core_between_two_samples():
    samples = CpuSamples()
    samples.percent(stat(0), 0.0)
    assert samples.percent(stat(3 * TICKS_PER_SECOND), 2.0) == 150.0


def test_reused_pid_is_another_process():
    samples = CpuSamples()
    samples.percent(stat(0, start_ticks=5), 0.0)
    assert samples.percent(stat(500, start_ticks=6), 10.0) is None


def test_two_collections_at_once_share_a_sample():
    before = Sample(cpu_ticks=10, taken_at=1.0, cpu_percent=7.0)
    assert next_sample(before, 11, 1.01) is before


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.floats(0, 10**6))
def test_per_cent_is_never_negative(first, second, elapsed):
    percent = next_sample(Sample(first, 0.0), second, elapsed).cpu_percent
    assert percent is None or percent >= 0


def test_memory_of_a_host_of_unknown_size_is_unknown():
    assert memory_pct(5, 0) is None
    assert memory_pct(25, 100) == 25


@pytest.mark.parametrize(
    ("raw", "pid"),
    [
        (b"42\n", 42),
        (b" 42 ", 42),
        (b"42\n/data\n", 42),
        (b"", None),
        (b"-1", None),
        (b"0", None),
        (b"4x", None),
        (b"9" * 60, None),
    ],
)
def test_pid_files(raw, pid):
    assert parse_pid(raw) == pid


def test_pid_file_older_than_its_process_is_stale():
    assert PidFile(1, written_at=100.0).is_stale(process_started_at=103.0)
    assert not PidFile(1, written_at=100.0).is_stale(process_started_at=101.5)
    assert not PidFile(1, written_at=100.0).is_stale(process_started_at=50.0)


def test_start_times_ignore_jitter_and_follow_a_step_of_the_clock():
    measured = [1000.0, 1000.2, 5000.0]
    clock = BootClock(lambda: measured.pop(0))
    ticks = 10 * TICKS_PER_SECOND
    assert clock.start_time(ticks) == datetime.fromtimestamp(1010, UTC)
    assert clock.start_time(ticks) == datetime.fromtimestamp(5010, UTC)
