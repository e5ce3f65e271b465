"""How a rollout stands is decided from the Deployment alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.pods.rollout.verdict import failed_at, judge

EARLIER, LATER = "2030-01-02T03:04:05Z", "2030-01-02T03:09:05Z"


def deployment(*, seen=2, replicas=3, updated=3, total=3, available=3, conditions=(), **spec):
    return {
        "metadata": {"generation": 2},
        "spec": {"replicas": replicas, **spec},
        "status": {
            "observedGeneration": seen,
            "updatedReplicas": updated,
            "replicas": total,
            "availableReplicas": available,
            "conditions": list(conditions),
        },
    }


def timed_out(at=EARLIER):
    message = 'ReplicaSet "web-1" has timed out progressing.'
    return {
        "type": "Progressing",
        "status": "False",
        "reason": "ProgressDeadlineExceeded",
        "message": message,
        "lastUpdateTime": at,
    }


@pytest.mark.parametrize(
    ("now", "state", "why"),
    [
        (deployment(), "complete", "3 of 3 pods are available"),
        (deployment(seen=1), "waiting", "has not seen the change"),
        # Conditions that are of the generation before say nothing about this one.
        (deployment(seen=1, conditions=[timed_out()]), "waiting", "has not seen the change"),
        (deployment(updated=1), "waiting", "1 of 3 pods are of the new revision"),
        (deployment(total=4), "waiting", "1 pods of the revision before"),
        (deployment(available=2), "waiting", "2 of 3 pods are available"),
        (deployment(updated=1, conditions=[timed_out()]), "failed", "has timed out progressing"),
        (deployment(replicas=0, updated=0, total=0, available=0), "complete", "0 of 0"),
        (
            deployment(
                updated=0,
                conditions=[{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: pods"}],
            ),
            "waiting",
            "exceeded quota: pods",
        ),
        ({"metadata": {"generation": 1}, "spec": {}}, "waiting", "has not seen"),
        (
            {"metadata": {"generation": 1}, "spec": {}, "status": {"observedGeneration": 1}},
            "waiting",
            "0 of 1",
        ),
    ],
)
def test_verdict(now, state, why):
    verdict = judge(now)
    assert verdict.state == state
    assert why in verdict.why


def test_failure_that_was_there_before_the_change_is_not_this_rollouts():
    now = deployment(updated=1, conditions=[timed_out(EARLIER)], progressDeadlineSeconds=60)
    stale = failed_at(now)
    assert stale == EARLIER
    assert judge(now, stale=stale, waited_s=1).state == "waiting"
    assert judge(now, stale=stale, waited_s=60).state == "waiting"
    # The cluster does not note it again: once the deadline has passed since, it is this one's.
    assert judge(now, stale=stale, waited_s=71).state == "failed"
    newer = deployment(updated=1, conditions=[timed_out(LATER)], progressDeadlineSeconds=60)
    assert judge(newer, stale=stale, waited_s=1).state == "failed"
    assert judge(deployment(conditions=[timed_out(EARLIER)]), stale=stale, waited_s=1).state == "complete"


counts = st.integers(0, 5)


@given(
    seen=st.integers(0, 3),
    replicas=counts,
    updated=counts,
    total=counts,
    available=counts,
    failed=st.booleans(),
)
def test_complete_means_that_all_pods_are_new_and_available(
    seen, replicas, updated, total, available, failed
):
    now = deployment(
        seen=seen,
        replicas=replicas,
        updated=updated,
        total=total,
        available=available,
        conditions=[timed_out()] if failed else (),
    )
    verdict = judge(now)
    if verdict.state == "complete":
        assert seen >= 2
        assert not failed
        assert updated >= replicas
        assert total <= updated
        assert available >= updated
    if verdict.state == "failed":
        assert seen >= 2
        assert failed
