"""Whom the heartbeat asks."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.decisions.asking import (
    TURN_S,
    TURNS,
    Expected,
    Heard,
    Said,
    Why,
    is_its_turn,
    is_reporting,
    order_of,
    why_ask,
)

NAMES = [f"web-{number}" for number in range(40)]
NOW = next(
    moment
    for number in range(TURNS)
    if not is_its_turn(
        "web-1", moment := datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=number * TURN_S)
    )
)
"""A round that is not web-1's turn."""
SILENT_FOR_S = 180


def ago(seconds):
    return NOW - timedelta(seconds=seconds)


def heard(said=None, containers_at=None, heard_at=None, pods_at=None, was_online=True):
    return Heard("web-1", ago(86_400), heard_at, containers_at, pods_at, said or {}, was_online)


def said(version="1.5", rules=("main",), at=10):
    return Said(version, frozenset(rules), ago(at))


def expected(**values):
    given_values = {
        "version": "1.5",
        "rules": frozenset({"main"}),
        "processes": True,
        "containers": False,
        "pods": False,
        "interval_s": 60.0,
        "changed": False,
    }
    return Expected(**{**given_values, **values})


def asked(one_heard, installed):
    return why_ask(one_heard, installed, NOW, SILENT_FOR_S)


def test_who_reports_what_is_installed_is_not_asked():
    assert asked(heard({"shop": said()}), {"shop": expected()}) is None


@pytest.mark.parametrize(
    ("report", "installed", "why"),
    [
        (None, expected(), Why.SILENT),
        (said(at=180), expected(), Why.SILENT),
        (said(at=179), expected(), None),
        (said(at=1499), expected(interval_s=600), None),
        (said(at=1500), expected(interval_s=600), Why.SILENT),
        (said(version="1.4"), expected(), Why.OTHER_VERSION),
        (said(rules=("main", "old")), expected(), Why.OTHER_RULES),
        (said(rules=()), expected(), Why.OTHER_RULES),
        (said(rules=("anything",)), expected(rules=None), None),
        (said(), expected(changed=True), Why.CHANGED),
    ],
)
def test_reports_of_processes(report, installed, why):
    assert asked(heard({"shop": report} if report else {}), {"shop": installed}) == why


def test_reports_of_containers():
    boxes = {"boxes": expected(rules=frozenset(), processes=False, containers=True)}
    assert asked(heard(containers_at=ago(10)), boxes) is None
    assert asked(heard(containers_at=ago(180)), boxes) is Why.SILENT
    assert asked(heard(), boxes) is Why.SILENT


def test_reports_of_pods():
    cluster = {"shop": expected(rules=frozenset(), processes=False, pods=True)}
    assert asked(heard(pods_at=ago(10)), cluster) is None
    assert asked(heard(pods_at=ago(180)), cluster) is Why.SILENT
    assert asked(heard(), cluster) is Why.SILENT
    assert asked(heard({"shop": said()}, pods_at=ago(5)), {"shop": expected()}) is Why.ORPHAN


def test_who_is_offline_is_asked_whatever_it_reports():
    for interval_s in (60.0, 300.0):
        back = heard({"shop": said(at=1)}, was_online=False)
        assert asked(back, {"shop": expected(interval_s=interval_s)}) is Why.SILENT
    assert asked(heard(heard_at=ago(1), was_online=False), {}) is Why.SILENT
    assert asked(heard({"shop": said(at=1)}, was_online=None), {"shop": expected()}) is None


@pytest.mark.parametrize(
    ("at", "intervals", "reports"),
    [
        (179, (), True),
        (180, (), False),
        (180, (60,), False),
        (200, (300,), True),
        (749, (300,), True),
        (750, (300,), False),
        (749, (600, 300), True),
        (750, (600, 300), False),
        (3599, (86_400,), True),
        (3600, (86_400,), False),
    ],
)
def test_reports_come_in_by_the_shortest_interval_and_within_the_hour(at, intervals, reports):
    installed = {f"shop-{one}": expected(interval_s=float(one)) for one in intervals}
    installed["blog"] = expected(processes=False, interval_s=5.0)
    of_either = heard({"shop": said(at=at)}), heard(containers_at=ago(at)), heard(pods_at=ago(at))
    for one in of_either:
        assert is_reporting(one, installed, NOW, SILENT_FOR_S) is reports
    assert is_reporting(of_either[0], installed, NOW, at + 1), "it is never less than silent_for_s"


def test_who_has_nothing_installed_is_asked_when_it_has_not_been_heard_of():
    assert asked(heard(), {}) is Why.SILENT
    assert asked(heard(heard_at=ago(181)), {}) is Why.SILENT
    assert asked(heard(heard_at=ago(10)), {}) is None


def test_who_reports_what_is_not_there_is_asked_until_it_stops():
    blog = {"shop": said(), "blog": said(at=20)}
    assert asked(heard(blog), {"shop": expected()}) is Why.ORPHAN
    assert asked(heard({**blog, "blog": said(at=200)}), {"shop": expected()}) is None
    assert asked(heard({"shop": said()}, containers_at=ago(5)), {"shop": expected()}) is Why.ORPHAN


@given(st.integers(0, 10**9), st.sampled_from(NAMES))
def test_everybody_has_a_turn_once_in_every_twelve_rounds(second, client_id):
    at = datetime.fromtimestamp(second, UTC)
    rounds = [at + timedelta(seconds=number * TURN_S) for number in range(TURNS)]
    assert sum(is_its_turn(client_id, one) for one in rounds) == 1


def test_a_round_is_a_small_part_of_a_large_fleet():
    turns = sum(is_its_turn(f"host-{number}.example", NOW) for number in range(1200))
    assert 60 <= turns <= 140


@given(st.floats(0, 10_000), st.floats(0, 10_000), st.floats(1, 3600))
def test_whoever_is_asked_for_silence_brought_no_report_in_time(at, containers_at, silent_for_s):
    one = heard({"shop": said(at=at)}, containers_at=ago(containers_at))
    installed = {"shop": expected(interval_s=1.0)}
    why = why_ask(one, installed, NOW, silent_for_s)
    if why is Why.SILENT:
        assert NOW - one.said["shop"].at >= timedelta(seconds=silent_for_s)
    else:
        assert is_reporting(one, installed, NOW, silent_for_s)


def test_those_that_are_known_to_be_offline_are_last():
    fleet = [("a", False), ("b", True), ("c", None), ("d", False)]
    ordered = sorted(fleet, key=lambda one: order_of(was_online=one[1], client_id=one[0]))
    assert [name for name, _ in ordered] == ["b", "c", "a", "d"]
