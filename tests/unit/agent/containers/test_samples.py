"""CPU per cent of containers is between two samples of one run."""

from datetime import UTC, datetime, timedelta

from agent.containers.cgroups import Usage
from agent.containers.samples import next_sample

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
S = 10**9


def usage(cpu_s: float, at_s: float) -> Usage:
    return Usage(cpu_ns=int(cpu_s * S), at_ns=int(at_s * S), memory_usage=1, memory_limit=None)


def test_first_sample_has_no_per_cent():
    assert next_sample(None, BEGAN, usage(5, 1)).cpu_percent is None


def test_per_cent_is_of_one_core_since_the_sample_before():
    first = next_sample(None, BEGAN, usage(5, 1))
    second = next_sample(first, BEGAN, usage(5.5, 2))
    assert second.cpu_percent == 50
    assert next_sample(second, BEGAN, usage(9.5, 4)).cpu_percent == 200


def test_collections_close_together_share_a_sample():
    first = next_sample(None, BEGAN, usage(5, 1))
    assert next_sample(first, BEGAN, usage(5.05, 1.05)) is first
    second = next_sample(first, BEGAN, usage(5.1, 1.2))
    assert second.cpu_percent == 50
    assert next_sample(second, BEGAN, usage(5.5, 1.6)) is second
    assert next_sample(second, BEGAN, usage(5.6, 1.7)).cpu_percent == 100


def test_another_run_begins_anew():
    first = next_sample(None, BEGAN, usage(5, 1))
    again = next_sample(first, BEGAN + timedelta(seconds=9), usage(6, 10))
    assert again.cpu_percent is None
    assert next_sample(again, BEGAN, usage(7, 20)).cpu_percent is None


def test_cpu_time_that_went_back_is_another_run():
    first = next_sample(None, BEGAN, usage(5, 1))
    assert next_sample(first, BEGAN, usage(4, 2)).cpu_percent is None
