"""A pod's reason is what kubectl shows; every case is one that a real cluster writes."""

import pytest

from agent.pods.describing import describe
from agent.pods.reason import reason_of, status_of
from tests.kubelet import AT, status


def pod_of(*, spec=None, metadata=None, **said):
    own = {"name": "web-1", "namespace": "shop", "uid": "u1", **(metadata or {})}
    return {
        "metadata": own,
        "spec": {"containers": [{"name": "app", "image": "shop:1"}], **(spec or {})},
        "status": said,
    }


def state(**kinds):
    return {"name": "app", "image": "shop:1", "ready": False, "restartCount": 0, "state": kinds}


def ended(code=1, **more):
    return {"terminated": {"exitCode": code, **more}}


def init(name="setup", **more):
    return {**state(), "name": name, **more}


READY = {"conditions": [{"type": "Ready", "status": "True"}]}
TWO_INITS = {"initContainers": [{"name": "setup"}, {"name": "migrate"}]}
SIDECAR = {"initContainers": [{"name": "setup", "restartPolicy": "Always"}]}


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("running", "Running"),
        ("starting", "ContainerCreating"),
        ("crashing", "CrashLoopBackOff"),
        ("out_of_memory", "OOMKilled"),
        ("image_missing", "ImagePullBackOff"),
        ("done", "Completed"),
        ("failed", "Error"),
    ],
)
def test_status_of_one_container(kind, shown):
    pod = pod_of(**status(kind))
    assert status_of(pod) == shown
    assert reason_of(pod) == (None if shown == "Running" else shown)


@pytest.mark.parametrize(
    ("pod", "shown"),
    [
        (pod_of(phase="Pending"), "Pending"),
        (pod_of(), "Unknown"),
        (pod_of(phase="Failed", reason="Evicted"), "Evicted"),
        (pod_of(phase="Failed", containerStatuses=[state(**ended(3))]), "ExitCode:3"),
        (pod_of(phase="Failed", containerStatuses=[state(**ended(0, signal=9))]), "Signal:9"),
        (pod_of(phase="Running", metadata={"deletionTimestamp": AT}), "Terminating"),
        (pod_of(phase="Running", reason="NodeLost", metadata={"deletionTimestamp": AT}), "Unknown"),
        # Of several containers the first in the list decides that has a reason.
        (
            pod_of(
                phase="Running",
                containerStatuses=[
                    state(waiting={"reason": "CrashLoopBackOff"}),
                    state(**ended(reason="OOMKilled")),
                ],
            ),
            "CrashLoopBackOff",
        ),
        # One is through, another runs: the pod runs; without its condition it is not ready.
        (
            pod_of(
                phase="Running",
                **READY,
                containerStatuses=[
                    state(**ended(0, reason="Completed")),
                    {**state(running={}), "ready": True},
                ],
            ),
            "Running",
        ),
        (
            pod_of(
                phase="Running",
                containerStatuses=[
                    state(**ended(0, reason="Completed")),
                    {**state(running={}), "ready": True},
                ],
            ),
            "NotReady",
        ),
        (
            pod_of(phase="Pending", spec=TWO_INITS, initContainerStatuses=[init(state={"running": {}})]),
            "Init:0/2",
        ),
        (
            pod_of(
                phase="Pending",
                spec=TWO_INITS,
                initContainerStatuses=[
                    init(state=ended(0)),
                    init("migrate", state={"waiting": {"reason": "PodInitializing"}}),
                ],
            ),
            "Init:1/2",
        ),
        (
            pod_of(phase="Pending", spec=TWO_INITS, initContainerStatuses=[init(state=ended(2))]),
            "Init:ExitCode:2",
        ),
        (
            pod_of(
                phase="Pending",
                spec=TWO_INITS,
                initContainerStatuses=[init(state=ended(0, signal=9, reason=""))],
            ),
            "Pending",
        ),
        (
            pod_of(
                phase="Pending",
                spec=TWO_INITS,
                initContainerStatuses=[init(state={"waiting": {"reason": "CrashLoopBackOff"}})],
            ),
            "Init:CrashLoopBackOff",
        ),
        # A sidecar never is through, and holds nothing up once it is started.
        (
            pod_of(
                spec=SIDECAR,
                phase="Running",
                initContainerStatuses=[init(state={"running": {}}, started=True)],
                containerStatuses=[state(waiting={"reason": "ImagePullBackOff"})],
            ),
            "ImagePullBackOff",
        ),
    ],
)
def test_status(pod, shown):
    assert status_of(pod) == shown


def test_pod_that_no_node_has_room_for_is_unschedulable():
    conditions = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]
    assert reason_of(pod_of(phase="Pending", conditions=conditions)) == "Unschedulable"
    scheduled = [{"type": "PodScheduled", "status": "True"}]
    assert reason_of(pod_of(phase="Pending", conditions=scheduled)) is None


def test_what_a_pod_says_too_long_is_cut_to_what_the_wire_takes():
    labels = {f"label-{number}": "x" for number in range(200)}
    pod = pod_of(
        phase="Strange",
        startTime="not a time",
        metadata={"labels": labels},
        containerStatuses=[{**state(waiting={"reason": "x" * 1000}), "restartCount": 2**40}],
    )
    info = describe(pod)
    assert (info.phase, info.start_time, len(info.labels)) == ("Unknown", None, 64)
    assert (len(info.reason or ""), info.restart_count) == (200, 2**31 - 1)
    assert info.containers[0].state == "waiting"


@pytest.mark.parametrize("called", ["docker.io/library/shop:1", "shop:1-rc3", "sha256:abc", ""])
def test_image_is_the_one_that_the_pod_declares_whatever_the_node_calls_it(called):
    running = {**state(running={"startedAt": AT}), "image": called}
    (container,) = describe(pod_of(phase="Running", containerStatuses=[running])).containers
    assert container.image == "shop:1"


def test_container_that_was_killed_and_runs_again_says_so():
    running = {
        **state(running={"startedAt": AT}),
        "ready": True,
        "restartCount": 1,
        "lastState": ended(137, reason="OOMKilled"),
    }
    info = describe(pod_of(phase="Running", **READY, containerStatuses=[running]))
    assert (info.ready, info.reason, info.restart_count) == (True, None, 1)
    (container,) = info.containers
    assert (container.state, container.reason) == ("running", None)
    assert (container.last_reason, container.exit_code) == ("OOMKilled", 137)
