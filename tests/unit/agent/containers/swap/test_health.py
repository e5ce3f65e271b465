"""Whether a new container is well, out of what the engine says of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agent.containers.swap.health import Health, Verdict, judge

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def seen(status: str = "running", restarts: int = 0, ran_s: float = 5, **state: Any) -> dict[str, Any]:
    started = (NOW - timedelta(seconds=ran_s)).isoformat().replace("+00:00", "Z")
    return {
        "RestartCount": restarts,
        "State": {"Status": status, "StartedAt": started, "ExitCode": 0, **state},
    }


def judged(stable_for_s: float = 10, **fields: Any) -> Verdict:
    return judge(seen(**fields), stable_for_s, NOW)


@pytest.mark.parametrize(("ran_s", "health"), [(0, "wait"), (9.9, "wait"), (10, "well"), (60, "well")])
def test_without_a_check_it_is_well_once_it_ran_long_enough(ran_s, health):
    verdict = judged(ran_s=ran_s)
    assert verdict.health == health
    assert "it has no health check" in verdict.why
    if verdict.health is Health.WELL:
        assert verdict.since == NOW - timedelta(seconds=ran_s)


def test_without_a_start_it_has_not_run_yet():
    assert judged(StartedAt="0001-01-01T00:00:00Z").health is Health.WAIT


@pytest.mark.parametrize(
    ("status", "health", "why"),
    [
        ("healthy", "well", "its health check passes"),
        ("starting", "wait", "its health check has not passed yet"),
        ("unhealthy", "failed", "it is unhealthy after 3 failed checks"),
    ],
)
def test_its_check_decides_however_long_it_ran(status, health, why):
    verdict = judged(ran_s=3600, Health={"Status": status, "FailingStreak": 3, "Log": []})
    assert (verdict.health, verdict.why, verdict.since) == (health, why, NOW)


@pytest.mark.parametrize("check", [None, {}, {"Status": "none"}, {"Status": None}])
def test_check_that_is_switched_off_is_none(check):
    assert judged(ran_s=10, Health=check).why.startswith("it has no health check")


@pytest.mark.parametrize("status", ["starting", "unhealthy"])
def test_what_the_last_check_said_is_told_and_cut(status):
    log = [{"Output": "first"}, {"Output": " refused \n" + "x" * 1000}]
    why = judged(Health={"Status": status, "FailingStreak": 1, "Log": log}).why
    assert ": refused" in why
    assert "first" not in why
    assert len(why) < 400


@pytest.mark.parametrize("status", ["exited", "dead"])
def test_one_that_ended_has_failed(status):
    verdict = judged(status=status, ExitCode=137, OOMKilled=True)
    assert (verdict.health, verdict.why) == (Health.FAILED, "it ended with 137, for want of memory")
    assert judged(status=status, ExitCode=0).why == "it ended with 0"


def test_one_that_was_restarted_has_failed_though_its_check_passes():
    healthy = {"Status": "healthy"}
    again = judged(restarts=1, ran_s=60, Health=healthy)
    assert (again.health, again.why) == (Health.FAILED, "it ended, and was started again")
    waiting = judged(status="restarting", ExitCode=3)
    assert (waiting.health, waiting.why) == (Health.FAILED, "it ended with 3, and was started again")


@pytest.mark.parametrize("status", ["created", "paused"])
def test_one_that_does_not_run_yet_is_waited_for(status):
    assert judged(status=status, ran_s=60) == Verdict(Health.WAIT, f"it is {status}", NOW)
