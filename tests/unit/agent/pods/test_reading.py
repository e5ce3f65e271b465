"""What a Deployment says about itself."""

import pytest

from agent.executions.steps import StepFailed
from agent.pods.rollout.reading import (
    container_of,
    image_of,
    revision_of,
    selector_of,
    template_hash,
    trouble_of,
)
from agent.wire.pods import PodContainer, PodInfo

REVISION = "deployment.kubernetes.io/revision"


def deployment(*containers, revision="3", **selector):
    return {
        "metadata": {"uid": "u1", "annotations": {REVISION: revision}},
        "spec": {
            "selector": selector or {"matchLabels": {"app": "web"}},
            "template": {"spec": {"containers": [{"name": one, "image": f"{one}:1"} for one in containers]}},
        },
    }


def replica_set(marked, revision, owner="u1"):
    return {
        "metadata": {
            "annotations": {REVISION: revision},
            "labels": {"pod-template-hash": marked},
            "ownerReferences": [{"uid": owner}],
        }
    }


def test_the_only_container_needs_no_name():
    assert container_of(deployment("app"), None) == "app"
    assert container_of(deployment("app", "proxy"), "proxy") == "proxy"
    for there, name in ((("app", "proxy"), None), (("app",), "proxy"), ((), None)):
        with pytest.raises(StepFailed):
            container_of(deployment(*there), name)
    assert image_of(deployment("app"), "app") == "app:1"
    assert image_of(deployment("app"), "proxy") is None


def test_selector_is_written_as_a_query():
    labels = {"app": "web", "tier": "front"}
    expressions = [
        {"key": "stage", "operator": "In", "values": ["a", "b"]},
        {"key": "old", "operator": "DoesNotExist"},
        {"key": "made", "operator": "Exists"},
        {"key": "zone", "operator": "NotIn", "values": ["c"]},
    ]
    found = selector_of(deployment("app", matchLabels=labels, matchExpressions=expressions))
    assert found == "app=web,tier=front,stage in (a,b),!old,made,zone notin (c)"


def test_pods_of_the_newest_revision_are_told_by_its_own_replica_set():
    sets = [replica_set("aaa", "2"), replica_set("bbb", "3", owner="another"), replica_set("ccc", "3")]
    assert template_hash(deployment("app"), sets) == "ccc"
    assert template_hash(deployment("app", revision="4"), sets) is None
    assert revision_of(deployment("app", revision="no number")) is None


def test_trouble_is_told_in_words():
    container = PodContainer(
        name="app",
        image="shop:1",
        ready=False,
        restart_count=4,
        state="waiting",
        exit_code=3,
        last_reason="Error",
    )
    pod = PodInfo(
        name="web-1",
        namespace="shop",
        uid="u1",
        phase="Running",
        ready=False,
        reason="CrashLoopBackOff",
        containers=(container,),
    )
    assert trouble_of(pod) == "web-1: CrashLoopBackOff, app ended with Error, exit code 3, 4 restarts"
    assert trouble_of(pod.model_copy(update={"ready": True})) is None
    assert trouble_of(pod.model_copy(update={"reason": None, "containers": ()})) == "web-1: Running"
