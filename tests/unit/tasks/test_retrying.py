"""When an agent is asked again."""

import time
from types import SimpleNamespace

import pytest
from prefect.states import Failed

from agent.errors import PermanentAgentError, TransientAgentError
from tasks.retrying import asks_again, first_asked, is_transient, keep_asking, retry_delays


def test_delays_double_and_fill_the_window():
    delays = retry_delays(120)
    assert sum(delays) == pytest.approx(120)
    assert delays[:6] == [1, 2, 4, 8, 16, 32]


def test_only_transient_errors_are_worth_another_attempt():
    task = run = None
    assert is_transient(task, run, Failed(data=TransientAgentError("away")))
    assert not is_transient(task, run, Failed(data=PermanentAgentError("refused", status=409)))
    assert not is_transient(task, run, Failed(data=ValueError("bug")))
    assert not is_transient(task, run, Failed(message="the script exited 3"))


def test_window_is_used_up_by_slow_attempts_too(monkeypatch):
    """A host that swallows what it is sent costs 10 s an attempt, and 30 s where it takes the connection."""
    monkeypatch.setattr("tasks.retrying.task_run", SimpleNamespace(run_count=3))
    now = time.monotonic()
    assert asks_again(120, now - 119)
    assert not asks_again(120, now - 121)
    assert first_asked(7.0) == 7.0
    monkeypatch.setattr("tasks.retrying.task_run", SimpleNamespace(run_count=8))
    assert not asks_again(120, now), "Prefect has no attempt left"
    monkeypatch.setattr("tasks.retrying.task_run", SimpleNamespace(run_count=1))
    assert first_asked(7.0) >= now


async def test_asking_goes_on_until_it_answers():
    asked = []

    async def ask():
        asked.append(1)
        if len(asked) < 3:
            raise TransientAgentError("away")
        return "here"

    assert await keep_asking(ask, window_s=5) == "here"
    assert len(asked) == 3


async def test_asking_ends_with_the_window():
    async def ask():
        raise TransientAgentError("away")

    with pytest.raises(TransientAgentError, match="away"):
        await keep_asking(ask, window_s=0.05)


async def test_refusal_is_not_asked_again():
    asked = []

    async def ask():
        asked.append(1)
        raise PermanentAgentError("refused", status=409)

    with pytest.raises(PermanentAgentError):
        await keep_asking(ask, window_s=0.05)
    assert len(asked) == 1


@pytest.mark.parametrize("window_s", [0.05, 12, 120])
async def test_asking_goes_on_for_the_whole_window_and_not_beyond(window_s):
    """Whatever the jitter is: a hundred times."""
    for _ in range(100):
        now, asked = [0.0], []

        async def sleep(seconds, now=now):
            now[0] += seconds

        async def ask(now=now, asked=asked):
            asked.append(now[0])
            raise TransientAgentError("away")

        with pytest.raises(TransientAgentError):
            await keep_asking(ask, window_s, clock=lambda now=now: now[0], sleep=sleep)
        assert asked[-1] == pytest.approx(window_s)
        assert len(asked) >= 6
