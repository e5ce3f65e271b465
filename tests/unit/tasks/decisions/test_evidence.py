from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.wire.processes import ProcessInfo
from agent.wire.releases import CheckResult
from tasks.decisions.evidence import Reason, Seen, Wanted, evidence_of, judge

BEGAN = datetime(2030, 1, 1, 12, tzinfo=UTC)
FIRST = BEGAN + timedelta(seconds=10)
LATER = FIRST + timedelta(seconds=30)
WANTED = Wanted("1.5", "update", rules=("app",), has_probe=True, stable_for_s=30, execution_started_at=BEGAN)


def _process(pid: int = 100, **values) -> ProcessInfo:
    values = {
        "name": "app",
        "start_time": BEGAN + timedelta(seconds=2),
        "status": "sleeping",
        "matched_by": "app",
        "ppid": 1,
        "start_ticks": 5000 + pid,
        "is_root": True,
        **values,
    }
    return ProcessInfo(pid=pid, **values)


def _seen(at: datetime = FIRST, *processes: ProcessInfo, **values) -> Seen:
    return Seen(
        at, **{"boot_id": "b", "processes": processes or (_process(),), "observed_version": "1.5", **values}
    )


def _judge(seen: Seen, wanted: Wanted = WANTED, first: Seen | None = None):
    return judge(wanted, first, seen, seen.at)


def test_everything_that_holds_for_long_enough_is_held():
    first = _seen()
    assert _judge(first).reason is Reason.TOO_EARLY
    verdict = _judge(_seen(LATER), first=first)
    assert (verdict.reason, verdict.held, verdict.retry) == (Reason.HELD, True, False)
    kept = evidence_of(WANTED, first, _seen(LATER), verdict, LATER)
    assert (kept.version_proven, kept.stable_for_s, kept.observed_version) == (True, 30.0, "1.5")


def test_too_early_is_looked_at_again():
    verdict = _judge(_seen(LATER - timedelta(seconds=1)), first=_seen())
    assert (verdict.reason, verdict.held, verdict.retry) == (Reason.TOO_EARLY, False, True)


FAULTS = {
    Reason.NO_PROCESS: _seen(FIRST, unmatched_rules=("app",)),
    Reason.ZOMBIE: _seen(FIRST, _process(status="zombie")),
    Reason.NOT_RESTARTED: _seen(FIRST, _process(start_time=BEGAN - timedelta(hours=1))),
    Reason.PROBE_FAILED: _seen(FIRST, observed_version=None, probe_error="connection refused"),
    Reason.WRONG_VERSION: _seen(FIRST, observed_version="1.4"),
}


@pytest.mark.parametrize("reason", FAULTS)
def test_what_is_wrong_may_be_a_slow_start_and_is_looked_at_again(reason: Reason):
    verdict = _judge(FAULTS[reason])
    assert (verdict.reason, verdict.held, verdict.retry) == (reason, False, True)
    assert verdict.detail


def test_a_rule_without_a_process_is_missing_even_if_the_agent_does_not_say_so():
    wanted = replace(WANTED, rules=("app", "worker"))
    assert _judge(_seen(), wanted).reason is Reason.NO_PROCESS


def test_reload_in_place_keeps_its_old_process():
    old = _seen(FIRST, _process(start_time=BEGAN - timedelta(hours=1)))
    assert _judge(old, replace(WANTED, reload_in_place=True)).reason is Reason.TOO_EARLY


def test_only_roots_have_to_be_new_and_stable():
    child = _process(101, ppid=100, is_root=False, start_time=BEGAN - timedelta(hours=1), status="zombie")
    first = _seen(FIRST, _process(), child)
    assert _judge(first).reason is Reason.TOO_EARLY
    assert _judge(_seen(LATER, _process(), _process(102, is_root=False, ppid=100)), first=first).held


def test_an_agent_of_the_older_wire_is_judged_by_start_times_and_parents():
    bare = _process(ppid=1, is_root=None, start_ticks=None)
    child = _process(101, ppid=100, is_root=None, start_ticks=None, start_time=BEGAN - timedelta(hours=1))
    first = _seen(FIRST, bare, child)
    assert _judge(first).reason is Reason.TOO_EARLY
    assert _judge(_seen(LATER, bare), first=first).held
    moved = bare.model_copy(update={"start_time": FIRST})
    assert _judge(_seen(LATER, moved), first=first).reason is Reason.IDENTITY_CHANGED


@pytest.mark.parametrize(
    "now",
    [
        _seen(LATER, _process(200)),
        _seen(LATER, _process(start_ticks=9999)),
        _seen(LATER, boot_id="other"),
        Seen(LATER, "b", (), ("app",), "1.5"),
    ],
    ids=["another pid", "the pid again", "reboot", "gone"],
)
def test_a_process_that_did_not_last_is_final(now: Seen):
    verdict = _judge(now, first=_seen())
    assert (verdict.reason, verdict.held, verdict.retry) == (Reason.IDENTITY_CHANGED, False, False)


def test_checks_have_to_run_and_to_pass():
    wanted = replace(WANTED, has_checks=True)
    passed = CheckResult(type="http", subject="http://127.0.0.1/", passed=True)
    failed = CheckResult(type="tcp", subject="127.0.0.1:80", passed=False, detail="connection refused")
    not_run = _judge(_seen(FIRST), wanted)
    assert (not_run.reason, not_run.retry) == (Reason.CHECKS_NOT_RUN, False)
    broken = _judge(_seen(FIRST, checks=(passed, failed)), wanted)
    assert (broken.reason, broken.retry) == (Reason.CHECK_FAILED, True)
    assert "connection refused" in broken.detail
    assert _judge(_seen(LATER, checks=(passed,)), wanted, _seen()).held


def test_without_a_probe_the_version_is_not_proven():
    wanted = replace(WANTED, has_probe=False)
    verdict = _judge(_seen(LATER, observed_version=None), wanted, _seen())
    assert verdict.held
    assert "not proven" in verdict.detail
    assert not evidence_of(wanted, _seen(), _seen(LATER), verdict, LATER).version_proven


def test_exit_code_is_taken_where_the_version_says_so():
    verdict = _judge(Seen(FIRST), replace(WANTED, source="exit_code"))
    assert (verdict.reason, verdict.held) == (Reason.EXIT_CODE, True)


def test_after_an_uninstall_nothing_runs_any_more():
    wanted = replace(WANTED, operation="uninstall")
    assert _judge(_seen(), wanted).reason is Reason.STILL_RUNNING
    assert _judge(Seen(FIRST, unmatched_rules=("app",)), replace(wanted, stable_for_s=0)).held


PROCESSES = st.builds(
    _process,
    st.integers(1, 5),
    start_time=st.sampled_from([BEGAN - timedelta(hours=1), BEGAN + timedelta(seconds=2)]),
    status=st.sampled_from(["sleeping", "zombie"]),
    is_root=st.sampled_from([True, False, None]),
    start_ticks=st.integers(1, 3),
    matched_by=st.sampled_from(["app", "worker"]),
)
SEEN = st.builds(
    Seen,
    at=st.sampled_from([FIRST, LATER]),
    boot_id=st.sampled_from(["b", "c", None]),
    processes=st.lists(PROCESSES, max_size=4).map(tuple),
    unmatched_rules=st.sampled_from([(), ("app",)]),
    observed_version=st.sampled_from([None, "1.4", "1.5"]),
    checks=st.sampled_from(
        [
            None,
            (),
            (CheckResult(type="tcp", subject="x", passed=True),),
            (CheckResult(type="tcp", subject="x", passed=False),),
        ]
    ),
)
ANY_WANTED = st.builds(
    Wanted,
    version=st.just("1.5"),
    operation=st.sampled_from(["update", "install"]),
    rules=st.sampled_from([("app",), ("app", "worker"), ()]),
    has_probe=st.booleans(),
    has_checks=st.booleans(),
    reload_in_place=st.booleans(),
    stable_for_s=st.sampled_from([0, 30]),
    execution_started_at=st.just(BEGAN),
)


@given(ANY_WANTED, st.none() | SEEN, SEEN)
def test_nothing_is_held_without_all_of_its_evidence(wanted: Wanted, first: Seen | None, seen: Seen):
    verdict = judge(wanted, first, seen, seen.at)
    assert verdict.held == (verdict.reason is Reason.HELD)
    assert not (verdict.held and verdict.retry)
    if not verdict.held:
        return
    matched = {process.matched_by for process in seen.processes}
    assert set(wanted.rules) <= matched - set(seen.unmatched_rules)
    assert not wanted.has_probe or seen.observed_version == "1.5"
    assert not wanted.has_checks or (seen.checks is not None and all(check.passed for check in seen.checks))
    assert wanted.stable_for_s == 0 or (first is not None and seen.at - first.at >= timedelta(seconds=30))
    roots = [process for process in seen.processes if process.is_root]
    assert all(process.status != "zombie" for process in roots)
    assert wanted.reload_in_place or all(process.start_time >= BEGAN for process in roots)


@given(ANY_WANTED, st.none() | SEEN, SEEN)
def test_judging_twice_answers_the_same(wanted: Wanted, first: Seen | None, seen: Seen):
    assert judge(wanted, first, seen, seen.at) == judge(wanted, first, seen, seen.at)


def _gone(at: datetime = FIRST, **values) -> Seen:
    return Seen(at, **{"boot_id": "b", "unmatched_rules": ("app",), **values})


def test_uninstall_has_to_hold_for_as_long_as_a_version():
    """A supervisor that starts it again a second later is seen."""
    wanted = replace(WANTED, operation="uninstall")
    assert _judge(_gone(), wanted).reason is Reason.TOO_EARLY
    assert _judge(_gone(LATER), wanted, _gone()).held
    back = _judge(_seen(LATER), wanted, _gone())
    assert (back.reason, back.held) == (Reason.STILL_RUNNING, False)


def test_uninstall_is_not_proven_while_a_check_passes():
    wanted = replace(WANTED, operation="uninstall", rules=(), has_probe=False, has_checks=True)
    answers = (CheckResult(type="http", subject="http://127.0.0.1/", passed=True, detail="answered 200"),)
    first = Seen(FIRST, checks=())
    there = _judge(Seen(LATER, checks=answers), wanted, first)
    assert (there.reason, there.held, there.retry) == (Reason.STILL_RUNNING, False, True)
    assert "answered 200" in there.detail
    silent = (CheckResult(type="http", subject="http://127.0.0.1/", passed=False, detail="refused"),)
    assert _judge(Seen(LATER, checks=silent), wanted, first).held


def test_dead_child_of_another_match_fulfils_no_rule():
    wanted = replace(WANTED, rules=("app", "worker"))
    dead = _process(101, status="zombie", matched_by="worker", ppid=100, is_root=False)
    verdict = _judge(_seen(FIRST, _process(), dead), wanted)
    assert (verdict.reason, verdict.held) == (Reason.ZOMBIE, False)
    alive = _process(102, matched_by="worker", ppid=100, is_root=False)
    assert _judge(_seen(FIRST, _process(), dead, alive), wanted).reason is Reason.TOO_EARLY
