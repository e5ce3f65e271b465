"""An alert's life, whatever is seen of it and in whatever order."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tasks.decisions.alerts import AlertState, Observation, Reason, Timing, decide_alert, due_at

T0 = datetime(2030, 1, 1, tzinfo=UTC)
LASTING = st.builds(
    Timing, for_s=st.sampled_from([0.0, 1.0, 300.0]), keep_firing_s=st.sampled_from([0.0, 60.0])
)
TIMINGS = LASTING | st.builds(Timing, keep_firing_s=st.sampled_from([60.0, 300.0]), moment=st.just(True))
# What happens: time passes, and something is seen (late, at times, or not at all).
STEPS = st.lists(
    st.tuples(
        st.integers(0, 400), st.sampled_from([True, False, None, "time"]), st.sampled_from([0, 0, 0, 90])
    ),
    max_size=40,
)


def at(seconds):
    return T0 + timedelta(seconds=seconds)


def lives(steps, timing):
    """The decisions one after the other, with what each was made of."""
    now, state, told = T0, None, []
    for passed, seen, late in steps:
        now += timedelta(seconds=passed)
        observation = None if seen == "time" else Observation(now - timedelta(seconds=late), seen)
        before, decision = state, decide_alert(state, observation, now, timing)
        state = decision.state
        told.append((before, observation, now, decision))
    return told


@given(STEPS, TIMINGS)
def test_fires_once_and_resolves_once_in_turn(steps, timing):
    events = [one.reason for *_, one in lives(steps, timing) if one.reason in (Reason.FIRED, Reason.RESOLVED)]
    assert events[::2] == [Reason.FIRED] * len(events[::2])
    assert events[1::2] == [Reason.RESOLVED] * len(events[1::2])


@given(STEPS, TIMINGS)
def test_never_fires_early_nor_on_what_was_seen_too_long_ago(steps, timing):
    for _, _, now, decision in lives(steps, timing):
        if decision.reason is Reason.FIRED:
            assert now - decision.state.since >= timedelta(seconds=timing.for_s)
            assert now - decision.state.held_at <= timedelta(seconds=timing.stale_after_s)


def test_what_nobody_looked_at_for_too_long_has_not_held_all_the_time():
    """CPU was high at 0 and at 60 s; then the agent was away for most of an hour."""
    timing, began = Timing(for_s=3600, stale_after_s=180), T0
    state = None
    for second in (0, 60):
        at = began + timedelta(seconds=second)
        state = decide_alert(state, Observation(at, True), at, timing).state
    hour = began + timedelta(seconds=3600)
    assert decide_alert(state, None, hour, timing).reason is Reason.STALE
    anew = decide_alert(state, Observation(hour, True), hour, timing)
    assert (anew.reason, anew.state.since) == (Reason.STARTED, hour)


@given(STEPS, TIMINGS)
def test_keeps_firing_as_long_as_it_is_told(steps, timing):
    for before, observation, now, decision in lives(steps, timing):
        if decision.reason is Reason.RESOLVED:
            assert before.firing
            assert now - before.held_at >= timedelta(seconds=timing.keep_firing_s)
            assert observation is None or observation.holds is False


@given(STEPS, TIMINGS)
def test_what_was_seen_late_or_is_not_judged_changes_nothing(steps, timing):
    for before, observation, _, decision in lives(steps, timing):
        late = observation is not None and before is not None and observation.at < before.seen_at
        if late or (observation is not None and observation.holds is None):
            assert decision.state == before


@given(STEPS, TIMINGS)
def test_the_same_thing_seen_twice_is_one(steps, timing):
    for before, observation, now, decision in lives(steps, timing):
        again = decide_alert(decision.state, observation, now, timing)
        assert again.state == decision.state or (before is None and again.reason is Reason.NOTHING)
        if decision.reason is Reason.FIRED:
            assert again.reason is not Reason.FIRED
        if decision.reason is Reason.RESOLVED:
            assert again.reason is Reason.NOTHING


@given(LASTING, st.integers(0, 10_000))
def test_condition_that_goes_on_fires_when_it_is_due_by_time_alone(timing, start):
    state = decide_alert(None, Observation(at(start), True), at(start), timing).state
    for second in range(60, int(timing.for_s), 60):
        again = at(start + second)
        state = decide_alert(state, Observation(again, True), again, timing).state
    due = due_at(state, timing)
    if timing.for_s:
        assert not state.firing
        assert decide_alert(state, None, due - timedelta(milliseconds=1), timing).reason is Reason.WAITING
        assert decide_alert(state, None, due, timing).reason is Reason.FIRED
    else:
        assert state.firing
        assert due is None


def test_restart_is_over_five_minutes_after_the_last_one_though_nobody_looks_again():
    timing = Timing(keep_firing_s=300, moment=True)
    fired = decide_alert(None, Observation(at(0), True), at(0), timing)
    assert (fired.reason, due_at(fired.state, timing)) == (Reason.FIRED, at(300))
    again = decide_alert(fired.state, Observation(at(200), True), at(200), timing)
    assert (again.reason, due_at(again.state, timing)) == (Reason.FIRING, at(500))
    assert decide_alert(again.state, None, at(499), timing).reason is Reason.KEPT
    assert decide_alert(again.state, None, at(500), timing).reason is Reason.RESOLVED


def test_back_within_a_second_is_heard_of_by_nobody():
    exits = Timing(for_s=1)
    state = decide_alert(None, Observation(at(0), True), at(0), exits).state
    assert decide_alert(state, Observation(at(0.9), False), at(0.9), exits).reason is Reason.CAME_BACK


def test_silent_client_s_old_high_load_does_not_fire_until_it_has_held_anew():
    timing = Timing(for_s=300, stale_after_s=180)
    state = AlertState(since=at(0), seen_at=at(60), held_at=at(60))
    assert decide_alert(state, None, at(900), timing).reason is Reason.STALE
    anew = decide_alert(state, Observation(at(900), True), at(900), timing)
    assert (anew.reason, anew.state.since) == (Reason.STARTED, at(900))
    assert decide_alert(state, Observation(at(900), False), at(900), timing).reason is Reason.CAME_BACK


def test_short_dip_of_a_kept_alert_is_no_second_alert():
    timing = Timing(for_s=0, keep_firing_s=60)
    state = decide_alert(None, Observation(at(0), True), at(0), timing).state
    dipped = decide_alert(state, Observation(at(30), False), at(30), timing)
    assert dipped.reason is Reason.KEPT
    assert decide_alert(dipped.state, Observation(at(50), True), at(50), timing).reason is Reason.FIRING
    assert decide_alert(dipped.state, None, at(60), timing).reason is Reason.RESOLVED
