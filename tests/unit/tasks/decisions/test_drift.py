"""Recorded against observed."""

from datetime import UTC, datetime, timedelta

import pytest

from tasks.decisions.drift import Seen, judge_drift, shown

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def seen(*versions, there=True, age_s=10):
    at = NOW - timedelta(seconds=age_s)
    return Seen(at, at, there, frozenset(versions))


@pytest.mark.parametrize(
    ("recorded", "what", "drift"),
    [
        ("1.4", seen("1.4"), "match"),
        ("1.4", seen("1.5"), "wrong_version"),
        ("1.4", seen("1.4", "1.5"), "wrong_version"),
        ("1.4", seen(there=False), "missing"),
        ("1.4", seen("1.4", there=False), "missing"),
        ("1.4", seen(), "unknown"),
        ("1.4", None, "unknown"),
        ("1.4", seen("1.4", age_s=180), "match"),
        ("1.4", seen("1.4", age_s=181), "stale"),
        ("1.4", seen(there=False, age_s=181), "stale"),
        (None, seen("1.4"), "extra"),
        (None, seen(), "extra"),
        (None, seen(there=False), "match"),
        (None, seen("1.4", age_s=181), "stale"),
        (None, None, "unknown"),
    ],
)
def test_named_outcomes(recorded, what, drift):
    assert judge_drift(recorded, what, 60.0, NOW) == drift


def test_versions_are_shown_in_order():
    assert shown({"1.5", "1.4"}) == "1.4, 1.5"
    assert shown(()) is None
