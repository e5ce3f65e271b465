import itertools
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.wire.executions import Operation
from tasks.decisions.ordering import is_downgrade
from tasks.decisions.selection import Candidate, Wish, order_of, pass_over

NAMES = st.sampled_from(["1.3", "1.4", "1.5", "1.5rc1", "2.0"])
CANDIDATES = st.builds(
    Candidate,
    client_id=st.sampled_from(["a", "b", "c"]),
    target_id=st.just("t"),
    environment_id=st.just("e"),
    priority=st.integers(-3, 3),
    held=st.none() | st.just("broken disk"),
    version=NAMES,
    previous_version=st.none() | NAMES,
    status=st.sampled_from([None, "installed", "failed", "uninstalled"]),
)
WISHES = st.builds(
    Wish,
    operation=st.sampled_from(get_args(Operation)),
    version=NAMES,
    include_failed=st.booleans(),
    allow_downgrade=st.booleans(),
    installs_too=st.booleans(),
    excluded=st.frozensets(st.sampled_from(["a", "b"])),
)


def _candidate(**values) -> Candidate:
    return Candidate(**{"client_id": "web", "target_id": "t", "environment_id": "e", **values})


@pytest.mark.parametrize(
    ("values", "wish", "reason"),
    [
        ({"version": "1.4", "status": "installed"}, Wish("update", "1.5"), None),
        ({"version": "1.4", "status": "installed", "held": "x"}, Wish("update", "1.5"), "held"),
        (
            {"version": "1.4", "status": "installed"},
            Wish("update", "1.5", excluded=frozenset({"web"})),
            "excluded",
        ),
        ({}, Wish("update", "1.5"), "not_installed"),
        ({"version": "1.4", "status": "uninstalled"}, Wish("update", "1.5"), "not_installed"),
        ({"version": "1.4", "status": "failed"}, Wish("update", "1.5"), "status_not_installed"),
        ({"version": "1.4", "status": "failed"}, Wish("update", "1.5", include_failed=True), None),
        ({"version": "1.5", "status": "failed"}, Wish("update", "1.5", include_failed=True), None),
        ({"version": "1.5", "status": "installed"}, Wish("update", "1.5"), "already_at_version"),
        ({"version": "1.6", "status": "installed"}, Wish("update", "1.5"), "would_be_downgrade"),
        ({"version": "1.6", "status": "installed"}, Wish("update", "1.5", allow_downgrade=True), None),
        ({"version": "1.5", "status": "installed"}, Wish("update", "1.5rc1"), "would_be_downgrade"),
        ({}, Wish("install", "1.5"), None),
        ({"version": "1.4", "status": "uninstalled"}, Wish("install", "1.5"), None),
        ({"version": "1.4", "status": "installed"}, Wish("install", "1.5"), "already_at_version"),
        ({}, Wish("deploy", "1.5"), "not_installed"),
        ({}, Wish("deploy", "1.5", installs_too=True), None),
        ({"version": "1.5", "status": "installed", "previous_version": "1.4"}, Wish("rollback"), None),
        ({"version": "1.5", "status": "installed"}, Wish("rollback"), "not_installed"),
        ({"version": "1.5", "status": "installed"}, Wish("rollback", "1.4"), None),
        ({"version": "1.5", "status": "installed"}, Wish("uninstall"), None),
        ({"version": "1.5", "status": "installed"}, Wish("uninstall", "1.4"), "not_installed"),
    ],
)
def test_who_is_passed_over_and_why(values, wish: Wish, reason: str | None):
    skipped = pass_over(_candidate(**values), wish)
    assert (skipped.reason if skipped else None) == reason


@given(CANDIDATES, WISHES)
def test_nobody_held_excluded_or_downgraded_ever_takes_part(candidate: Candidate, wish: Wish):
    if pass_over(candidate, wish) is not None:
        return
    assert candidate.held is None
    assert candidate.client_id not in wish.excluded
    assert candidate.status != "failed" or wish.include_failed
    if wish.operation in ("update", "rollback", "uninstall"):
        assert candidate.installed is not None
    if wish.operation in ("update", "deploy") and candidate.installed and not wish.allow_downgrade:
        assert not is_downgrade(candidate.installed, wish.version)


@given(CANDIDATES, WISHES)
def test_a_reason_names_the_client_and_says_something(candidate: Candidate, wish: Wish):
    skipped = pass_over(candidate, wish)
    assert skipped is None or (skipped.client_id == candidate.client_id and skipped.detail)


@given(st.lists(CANDIDATES, max_size=20))
def test_higher_priority_goes_first_then_the_name(candidates: list[Candidate]):
    ordered = sorted(candidates, key=order_of)
    for one, other in itertools.pairwise(ordered):
        assert one.priority > other.priority or (
            one.priority == other.priority and one.client_id <= other.client_id
        )


def test_failed_installation_of_a_newer_version_is_not_overwritten_by_an_install():
    newer = Candidate("a", "t", "e", version="2.0", status="failed")
    wish = Wish("install", "1.0", include_failed=True)
    assert pass_over(newer, wish).reason == "would_be_downgrade"
    assert pass_over(newer, replace(wish, allow_downgrade=True)) is None
