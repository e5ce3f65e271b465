"""Offline clients as alerts: whatever the heartbeat saw and however often the watch looked."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tasks.decisions.alerts import AlertState, Observation, Reason, decide_alert
from tasks.decisions.client_watching import observe_client

START = datetime(2030, 1, 1, tzinfo=UTC)
LOOKS = st.lists(st.tuples(st.integers(1, 900), st.booleans()), min_size=1, max_size=30)
SECONDS = st.integers(0, 1200)


def observe(online, since, for_s, keep_firing_s=0.0):
    return observe_client(
        "web-1", online=online, since=since, heard_at=None, for_s=for_s, keep_firing_s=keep_firing_s
    )


def watch(looks, for_s, keep_firing_s):
    """The watch looks so many seconds after the look before; what it then knew, and each decision."""
    state: AlertState | None = None
    now = since = START
    was_online = True
    for seconds, online in looks:
        now += timedelta(seconds=seconds)
        if online is not was_online:
            since, was_online = now, online
        observed = observe(online, since, for_s, keep_firing_s)
        before = state
        seen = Observation(now, observed.holds, since)
        decision = decide_alert(state, seen, now, observed.timing)
        state = decision.state
        yield online, now, since, before, decision


@given(LOOKS, SECONDS, SECONDS)
def test_nobody_is_told_before_its_time(looks, for_s, keep_firing_s):
    for online, now, since, _before, decision in watch(looks, for_s, keep_firing_s):
        if decision.reason is Reason.FIRED:
            assert not online
            assert now - since >= timedelta(seconds=for_s)


@given(LOOKS, SECONDS)
def test_who_is_back_resolves_at_the_next_look(looks, for_s):
    for online, _now, _since, before, decision in watch(looks, for_s, 0):
        if online:
            assert decision.state is None
            was_told = before is not None and before.firing
            assert (decision.reason is Reason.RESOLVED) is was_told


@given(LOOKS, SECONDS, SECONDS)
def test_each_alert_is_told_once_and_ended_once(looks, for_s, keep_firing_s):
    told = []
    for _online, _now, _since, _before, decision in watch(looks, for_s, keep_firing_s):
        if decision.reason in (Reason.FIRED, Reason.RESOLVED):
            told.append(decision.reason)
    assert told == [Reason.FIRED, Reason.RESOLVED] * (len(told) // 2) + [Reason.FIRED] * (len(told) % 2)


@given(LOOKS, SECONDS)
def test_offline_for_long_enough_is_told(looks, for_s):
    for online, now, since, _before, decision in watch(looks, for_s, 0):
        if not online and now - since >= timedelta(seconds=for_s):
            assert decision.state is not None
            assert decision.state.firing


def test_message_says_when_it_was_heard_of_last():
    said = observe_client(
        "web-1", online=False, since=START, heard_at=START - timedelta(hours=1), for_s=1, keep_firing_s=0
    )
    assert said.message == "client web-1 has not been heard of since 2029-12-31 23:00:00 UTC"
