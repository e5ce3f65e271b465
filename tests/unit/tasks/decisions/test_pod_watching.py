"""What a pod report says: failing, restarted, not ready; and, whatever comes, nothing that contradicts itself."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.wire.pods import PodContainer, PodInfo
from tasks.decisions.pod_reports import Coverage
from tasks.decisions.pod_troubles import MAX_SUBJECT, subject_of
from tasks.decisions.pod_watching import (
    ALL,
    FORGOTTEN_AFTER,
    KnownPod,
    PodLimits,
    PodLook,
    observe_pods,
)

NOON = datetime(2030, 1, 2, 12, tzinfo=UTC)
EVERYTHING = PodLook(Coverage(), NOON)
LIMITS = PodLimits()


def container(**fields) -> PodContainer:
    return PodContainer(**{"name": "app", "image": "shop:1.5", "ready": True, "state": "running", **fields})


def pod(uid="u1", name="shop-1", namespace="default", **fields) -> PodInfo:
    return PodInfo(uid=uid, name=name, namespace=namespace, **{"phase": "Running", "ready": True, **fields})


def known(pod_: PodInfo, **fields) -> dict[str, KnownPod]:
    said = {"subject": subject_of(pod_), "namespace": pod_.namespace, "restarts": pod_.restart_count}
    return {pod_.uid: KnownPod(**{**said, **fields})}


def holding(pods, memory=None, look=EVERYTHING, limits=LIMITS):
    observed, _ = observe_pods(pods, memory or {}, limits, look)
    return {one.type: one.message for one in observed if one.holds}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {
                "reason": "CrashLoopBackOff",
                "restart_count": 5,
                "containers": (
                    container(
                        state="waiting",
                        ready=False,
                        reason="CrashLoopBackOff",
                        last_reason="OOMKilled",
                        exit_code=137,
                        restart_count=5,
                    ),
                ),
            },
            "pod default/shop-1 fails: app: CrashLoopBackOff (ended with OOMKilled, exit code 137, 5 restarts)",
        ),
        (
            {"reason": "OOMKilled", "containers": (container(state="terminated", reason="OOMKilled", exit_code=137),)},
            "pod default/shop-1 fails: app: OOMKilled (exit code 137)",
        ),
        (
            {"phase": "Pending", "reason": "ImagePullBackOff", "containers": (container(state="waiting", reason="ImagePullBackOff"),)},
            "pod default/shop-1 fails: app: ImagePullBackOff",
        ),
        ({"phase": "Pending", "reason": "Init:CrashLoopBackOff"}, "pod default/shop-1 fails: Init:CrashLoopBackOff"),
        ({"phase": "Pending", "reason": "Init:ExitCode:3"}, "pod default/shop-1 fails: Init:ExitCode:3"),
        ({"phase": "Failed", "reason": "Evicted"}, "pod default/shop-1 fails: Evicted"),
        ({"phase": "Failed"}, "pod default/shop-1 fails: Failed"),
    ],
)  # fmt: skip
def test_a_pod_that_fails_is_told_with_its_reason_and_is_one_alert(fields, said):
    assert holding([pod(ready=False, **fields)]) == {"pod_failed": said}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "Running"),
        ({"phase": "Pending", "reason": "Unschedulable"}, "Unschedulable"),
        ({"phase": "Pending", "reason": "ContainerCreating"}, "ContainerCreating"),
        ({"phase": "Pending", "reason": "Init:0/1"}, "Init:0/1"),
        ({"phase": "Unknown"}, "Unknown"),
    ],
)
def test_a_pod_that_only_waits_is_not_ready_after_a_while(fields, said):
    seen = [pod(ready=False, **fields)]
    assert holding(seen) == {"pod_not_ready": f"pod default/shop-1 is not ready: {said}"}
    observed, _ = observe_pods(seen, {}, PodLimits(not_ready_s=7), EVERYTHING)
    assert {one.timing.for_s for one in observed if one.holds} == {7}


@pytest.mark.parametrize(
    "fields",
    [
        {"ready": True},
        {"phase": "Succeeded", "ready": False, "reason": "Completed"},
        {"ready": False, "reason": "Terminating"},
        {"phase": "Failed", "ready": False, "reason": "Terminating"},
    ],
)
def test_a_pod_that_is_ready_done_or_leaving_is_well(fields):
    assert holding([pod(**fields)]) == {}


def test_restart_is_told_once_with_its_reason():
    killed = container(last_reason="OOMKilled", exit_code=137, restart_count=1)
    now = pod(restart_count=1, containers=(killed,))
    assert holding([now]) == {}
    before = known(pod())
    said = (
        "pod default/shop-1 restarted: 1 times so far (app (ended with OOMKilled, exit code 137, 1 restarts))"
    )
    assert holding([now], before) == {"pod_restarted": said}
    _, memory = observe_pods([now], before, PodLimits(), EVERYTHING)
    assert holding([now], memory) == {}


def test_restart_of_a_pod_that_is_failing_already_is_no_alert_of_its_own():
    look = PodLook(Coverage(), NOON, failing={"default/shop-1"})
    assert holding([pod(restart_count=2)], known(pod(restart_count=1)), look) == {}


def test_pod_of_the_same_name_made_anew_is_another_one():
    before = known(pod("old", restart_count=0))
    observed, memory = observe_pods([pod("new", restart_count=3)], before, PodLimits(), EVERYTHING)
    assert [one for one in observed if one.holds] == []
    assert list(memory) == ["new"]


def test_that_none_is_left_of_what_is_installed_is_told():
    missed = PodLook(Coverage(), NOON, expected="default")
    for gone in ([], [pod(reason="Terminating")], [pod(phase="Failed", ready=False, reason="Terminating")]):
        assert holding(gone, look=missed) == {"pod_not_ready": "no pod of it is left"}
    assert holding([pod()], look=missed) == {}
    assert holding([], look=PodLook(Coverage("other"), NOON, expected="default")) == {}
    assert holding([], look=EVERYTHING) == {}


def test_what_a_report_cannot_tell_is_left_as_it_is_for_an_hour():
    before = known(pod())
    for coverage in (Coverage("other"), Coverage("default", "app=x"), Coverage(truncated=True)):
        observed, memory = observe_pods([], before, PodLimits(), PodLook(coverage, NOON))
        assert {one.holds for one in observed if one.subject != ALL} == {None}
        later = PodLook(coverage, NOON + FORGOTTEN_AFTER)
        observed, after = observe_pods([], memory, PodLimits(), later)
        assert {one.holds for one in observed} == {False}
        assert after == {}


def test_without_alert_on_failure_only_readiness_is_judged():
    failing = [pod(phase="Failed", ready=False), pod("u2", "shop-2", ready=False)]
    assert holding(failing, limits=PodLimits(failures=False)).keys() == {"pod_not_ready"}


def test_a_long_name_stays_one_of_its_own():
    first, second = (pod(name="x" * 252 + end, namespace="n" * 63) for end in "ab")
    assert subject_of(first) != subject_of(second)
    assert len(subject_of(first)) == MAX_SUBJECT


REASONS = st.sampled_from(
    [None, "CrashLoopBackOff", "Terminating", "Completed", "Error", "Init:Error", "Init:0/1", "Unschedulable"]
)
CONTAINERS = st.builds(
    container,
    state=st.sampled_from(["running", "waiting", "terminated"]),
    reason=REASONS,
    exit_code=st.sampled_from([None, 0, 1, 137]),
    restart_count=st.integers(0, 3),
)
PODS = st.lists(
    st.builds(
        pod,
        uid=st.sampled_from("12345"),
        name=st.sampled_from(["a", "b", "c"]),
        namespace=st.sampled_from(["n", "m"]),
        phase=st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Unknown"]),
        ready=st.booleans(),
        restart_count=st.integers(0, 3),
        reason=REASONS,
        containers=st.lists(CONTAINERS, max_size=2).map(tuple),
    ),
    max_size=5,
    unique_by=lambda one: one.uid,
)
LOOKS = st.builds(
    PodLook,
    st.builds(Coverage, st.sampled_from([None, "n", "m"]), st.sampled_from([None, "a=b"]), st.booleans()),
    st.integers(0, 7200).map(lambda seconds: NOON + timedelta(seconds=seconds)),
    failing=st.sets(st.sampled_from(["n/a", "n/b", "m/c"])),
    deploying=st.booleans(),
    expected=st.sampled_from([None, "n"]),
)


@given(PODS, PODS, LOOKS)
def test_observations_never_contradict_each_other(before, now, look):
    _, memory = observe_pods(before, {}, PodLimits(), EVERYTHING)
    observed, after = observe_pods(now, memory, PodLimits(), look)
    by_key = {one.key: one for one in observed}
    assert len(by_key) == len(observed)
    for one in now:
        subject = subject_of(one)
        assert after[one.uid] == KnownPod(subject, one.namespace, one.restart_count)
        assert {(type_, subject) for type_ in ("pod_failed", "pod_restarted", "pod_not_ready")} <= set(by_key)
    if look.deploying:
        assert not any(one.holds for one in observed)
    for uid, one in memory.items():
        if uid in {pod_.uid for pod_ in now}:
            continue
        if look.coverage.tells_absence_in(one.namespace):
            assert uid not in after
        elif uid in after:
            assert after[uid].subject == one.subject


@given(st.lists(PODS, max_size=5))
def test_restarts_are_told_as_often_as_the_count_rises_and_never_twice(reports):
    memory: dict = {}
    highest: dict[str, int] = {}
    for pods in reports:
        observed, memory = observe_pods(pods, memory, PodLimits(), EVERYTHING)
        anew = {one.subject for one in observed if one.type == "pod_restarted" and one.holds}
        rose = {
            subject_of(one) for one in pods if one.uid in highest and one.restart_count > highest[one.uid]
        }
        assert anew <= rose
        highest = {one.uid: one.restart_count for one in pods}
