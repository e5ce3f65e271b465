"""What process reports say of a rule: each thing that can go wrong by its name, and nothing that isn't."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.wire.processes import ProcessConfig, ProcessInfo, Rule
from tasks.decisions.alerts import AlertState, Observation, Reason, Timing, decide_alert
from tasks.decisions.process_watching import ProcessesFound, ProcessMemory, observe_processes

T0 = datetime(2030, 1, 1, tzinfo=UTC)
CONFIG = ProcessConfig(rules=(Rule(type="name", pattern="shop", name="shop"),), collect_interval=60)


def process(pid=100, ticks=7, **fields):
    said = {"pid": pid, "start_ticks": ticks, "name": "shop", "start_time": T0, "status": "sleeping"}
    return ProcessInfo.model_validate({**said, "matched_by": "shop", "is_root": True, **fields})


def seen(*reports, config=CONFIG, firing=(), judged=True, every_s=60):
    """The types whose condition holds at the last of these reports (processes, deploy task); None where not judged."""
    memory = ProcessMemory()
    for number, report in enumerate(reports):
        processes, release = report if isinstance(report, tuple) else (report, "t-1")
        found = ProcessesFound(T0 + timedelta(seconds=number * every_s), processes, release)
        observed, memory = observe_processes(config, found, memory, firing_exits=firing, judged=judged)
    return {one.type.removeprefix("process_"): one.holds for one in observed}


QUIET = {"exit": False, "restart": False}
EXIT = {"exit": True, "restart": False}
RESTART = {"exit": False, "restart": True}


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        pytest.param([[process()], [process()]], QUIET, id="the same process"),
        pytest.param([[process()], []], EXIT, id="gone"),
        pytest.param([[process()], [process(status="zombie")]], EXIT, id="a zombie is gone"),
        pytest.param([[]], EXIT, id="never there"),
        pytest.param([[process()], [process(200)]], RESTART, id="another pid"),
        pytest.param([[process()], [process(ticks=8)]], RESTART, id="a pid that is reused"),
        pytest.param([[process()], [], [process(200)]], RESTART, id="back later"),
        pytest.param([[process()], [], [process()]], QUIET, id="back as it was: it was not found for once"),
        pytest.param([[], [process()]], QUIET, id="there for the first time"),
        pytest.param([[process()], [process(), process(200)]], QUIET, id="one more"),
        pytest.param([[process(), process(200)], [process()]], QUIET, id="one less"),
        pytest.param([[process(), process(200)], [process(), process(300)]], RESTART, id="one of two"),
        pytest.param(
            [[process(), process(200)], [process()], [process(), process(300)]],
            RESTART,
            id="one of two, seen in between",
        ),
        pytest.param(
            [[process(), process(200)], [process()], [process()], [process(), process(300)]],
            QUIET,
            id="one of two, and another one much later",
        ),
        pytest.param(
            [
                [process(), process(200)],
                [process()],
                [process(), process(200)],
                [process(), process(200), process(300)],
            ],
            QUIET,
            id="one of two was not found for once, then there is one more",
        ),
        pytest.param(
            [
                [process(), process(200), process(300)],
                [process()],
                [process(), process(400)],
                [process(), process(500)],
            ],
            RESTART,
            id="one after the other",
        ),
        pytest.param(
            [([process(), process(200)], "t-1"), ([process()], "t-1"), ([process(), process(300)], "t-2")],
            QUIET,
            id="one of two, by another deploy task",
        ),
        pytest.param(
            [[process(), process(200, is_root=False)], [process(), process(300, is_root=False)]],
            QUIET,
            id="a worker of the same root",
        ),
        pytest.param([([process()], "t-1"), ([process(200)], "t-2")], QUIET, id="by another deploy task"),
        pytest.param(
            [[process(ticks=None)], [process(ticks=None, start_time=T0 + timedelta(seconds=0.4))]],
            QUIET,
            id="without ticks, a start time that jitters",
        ),
        pytest.param(
            [[process(ticks=None)], [process(ticks=None, start_time=T0 + timedelta(hours=1))]],
            RESTART,
            id="without ticks, a start time that moved",
        ),
        pytest.param(
            [[process()], [process(start_time=T0 + timedelta(hours=5))]],
            QUIET,
            id="the host's clock jumped, and took the start time along",
        ),
    ],
)
def test_named_outcomes(reports, expected):
    assert seen(*reports) == expected


def test_deploy_task_at_work_leaves_exits_and_restarts_unjudged():
    assert seen([process()], [], judged=False) == {"exit": None, "restart": None}
    assert seen([process()], [process(200)], judged=False) == {"exit": None, "restart": None}


def test_return_of_what_people_know_is_gone_is_no_restart():
    assert seen([process()], [], [process(200)], firing={"shop"}) == QUIET


def test_return_one_by_one_of_what_people_know_is_gone_is_no_restart():
    memory = ProcessMemory()
    both, one, others = [process(), process(200)], [process(300)], [process(300), process(400)]
    for second, processes, firing in ((0, both, ()), (1, [], ()), (9, one, ("shop",)), (12, others, ())):
        found = ProcessesFound(T0 + timedelta(seconds=second), processes, "t-1")
        observed, memory = observe_processes(CONFIG, found, memory, firing_exits=firing)
        assert [each.holds for each in observed if each.type == "process_restart"] == [False], second


def test_nothing_is_said_of_exits_where_they_are_no_alert():
    assert seen([process()], [], config=CONFIG.model_copy(update={"alert_on_exit": False})) == {}


def test_load_is_the_highest_of_the_rule_s_and_what_was_not_measured_is_not_judged():
    config = CONFIG.model_copy(update={"alert_on_high_cpu": 50.0, "alert_on_high_mem": 10.0})
    mixed = [process(cpu_percent=10), process(200, cpu_percent=90), process(300)]
    assert seen(mixed, config=config) == {**QUIET, "cpu_high": True, "memory_high": None}
    at_limit = [process(cpu_percent=50, memory_pct=9.9)]
    assert seen(at_limit, config=config) == {**QUIET, "cpu_high": False, "memory_high": False}
    assert seen([], config=config) == {**EXIT, "cpu_high": False, "memory_high": False}, "it uses nothing"


PROCESSES = st.lists(
    st.builds(process, st.integers(1, 3), st.integers(1, 2), status=st.sampled_from(["sleeping", "zombie"])),
    max_size=3,
    unique_by=lambda one: one.pid,
)


@given(st.lists(PROCESSES, min_size=1, max_size=8))
def test_exit_and_restart_never_hold_together_and_a_repetition_is_nothing_new(reports):
    last = seen(*reports)
    assert not (last["exit"] and last["restart"])
    assert seen(*reports, reports[-1])["restart"] is False
    assert seen(*reports, reports[-1])["exit"] == last["exit"]


# What clocks do to an alert that has been decided on.


def at(seconds):
    return T0 + timedelta(seconds=seconds)


WAITING = AlertState(since=at(0), seen_at=at(0), held_at=at(0))
FIRING = AlertState(since=at(0), seen_at=at(0), held_at=at(0), fired_at=at(1))
EXITS = Timing(for_s=1.0, stale_after_s=180.0)
LOADS = Timing(for_s=300.0, keep_firing_s=60.0, stale_after_s=180.0)


@pytest.mark.parametrize(
    ("was", "observation", "now", "timing", "reason"),
    [
        pytest.param(WAITING, None, at(3600), EXITS, Reason.STALE, id="the API's clock jumps ahead: exit"),
        pytest.param(WAITING, None, at(3600), LOADS, Reason.STALE, id="the API's clock jumps ahead: load"),
        pytest.param(WAITING, None, at(-3600), EXITS, Reason.WAITING, id="the API's clock jumps back"),
        pytest.param(
            FIRING, None, at(-3600), EXITS, Reason.FIRING, id="it fires, the API's clock jumps back"
        ),
        pytest.param(
            WAITING, Observation(at(-30), True), at(2), EXITS, Reason.OUT_OF_ORDER, id="an older report: gone"
        ),
        pytest.param(
            FIRING,
            Observation(at(-30), False),
            at(2),
            EXITS,
            Reason.OUT_OF_ORDER,
            id="an older report: there",
        ),
        pytest.param(
            WAITING, Observation(at(0), True), at(0.5), EXITS, Reason.WAITING, id="the same one twice"
        ),
        pytest.param(FIRING, Observation(at(0), True), at(2), EXITS, Reason.FIRING, id="told already"),
        pytest.param(
            FIRING, Observation(at(9), None), at(9), EXITS, Reason.NOT_JUDGED, id="a deployment began"
        ),
        pytest.param(None, Observation(at(0), False), at(0), EXITS, Reason.NOTHING, id="nothing is wrong"),
    ],
)
def test_named_outcomes_of_clocks_and_order(was, observation, now, timing, reason):
    decision = decide_alert(was, observation, now, timing)
    assert decision.reason is reason
    assert decision.state == was


@given(
    st.lists(
        st.tuples(
            st.integers(-5000, 5000), st.sampled_from([True, False, None, "time"]), st.integers(0, 500)
        ),
        max_size=30,
    ),
    st.sampled_from([EXITS, LOADS, Timing()]),
)
def test_clock_that_jumps_tells_nobody_anything_twice(steps, timing):
    now, state, told = T0, None, []
    for jump, what, late in steps:
        now += timedelta(seconds=jump)
        observation = None if what == "time" else Observation(now - timedelta(seconds=late), what)
        decision = decide_alert(state, observation, now, timing)
        if decision.reason is Reason.FIRED:
            assert now - decision.state.held_at <= timedelta(seconds=max(timing.stale_after_s, timing.for_s))
        if decision.reason in (Reason.FIRED, Reason.RESOLVED):
            told.append(decision.reason)
        state = decision.state
    assert told[::2] == [Reason.FIRED] * len(told[::2])
    assert told[1::2] == [Reason.RESOLVED] * len(told[1::2])
