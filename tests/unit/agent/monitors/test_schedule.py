import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.monitors.schedule import LONGEST_BACKOFF_S, PROBE_EVERY, backoff_s, next_tick, probe_is_due


@given(st.floats(0, 1e6), st.integers(5, 86_400), st.floats(0, 1e6))
def test_next_tick_is_ahead_and_on_the_grid(started, interval, passed):
    now = started + passed
    tick = next_tick(started, interval, now)
    assert now - 1e-3 < tick <= now + interval + 1e-3
    rounds = (tick - started) / interval
    assert rounds == pytest.approx(round(rounds), abs=1e-6)


def test_missed_rounds_are_not_made_up_for():
    assert next_tick(100.0, 60.0, 1000.0) == 1060.0


def test_backoff_doubles_up_to_a_minute():
    assert [backoff_s(n) for n in (1, 2, 3, 6, 7, 10_000)] == [
        1,
        2,
        4,
        32,
        LONGEST_BACKOFF_S,
        LONGEST_BACKOFF_S,
    ]


def test_probe_is_due_first_then_every_few_rounds_and_when_processes_change():
    assert probe_is_due(None, processes_changed=False)
    assert not probe_is_due(PROBE_EVERY - 1, processes_changed=False)
    assert probe_is_due(PROBE_EVERY, processes_changed=False)
    assert probe_is_due(1, processes_changed=True)
