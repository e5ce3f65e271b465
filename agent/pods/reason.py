"""What kubectl shows as a pod's status: why it is not simply running. Pure.

After printPod of https://github.com/kubernetes/kubernetes/blob/master/pkg/printers/internalversion/printers.go, in words of
our own: the pod's own reason, then the first init container that isn't through, then its containers, then its deletion.
"""

from typing import Any

Document = dict[str, Any]


def status_of(pod: Document) -> str:
    """What is in kubectl's column STATUS: Running, CrashLoopBackOff, Init:0/1, Terminating…"""
    status = pod.get("status") or {}
    shown = str(status.get("reason") or status.get("phase") or "Unknown")
    starting = _of_init_containers(pod)
    shown = starting or _of_containers(pod, shown)
    if (pod.get("metadata") or {}).get("deletionTimestamp"):
        return "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return shown


def reason_of(pod: Document) -> str | None:
    """The status, where it says more than the phase; a pod that no node has room for is Unschedulable."""
    shown = status_of(pod)
    if shown != (pod.get("status") or {}).get("phase"):
        return shown
    scheduled = condition_of(pod, "PodScheduled")
    if shown == "Pending" and scheduled.get("status") == "False":
        return str(scheduled.get("reason") or "Unschedulable")
    return None


def condition_of(pod: Document, kind: str) -> Document:
    """The condition of that type, or an empty one."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one.get("type") == kind), {})


def is_ready(pod: Document) -> bool:
    """Whether it takes requests: its condition Ready, which a finished pod does not have."""
    return bool(condition_of(pod, "Ready").get("status") == "True")


def ending_of(terminated: Document) -> str:
    """Why a container ended, where the cluster gives no reason: by which signal, or with which status."""
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _of_init_containers(pod: Document) -> str | None:
    declared = (pod.get("spec") or {}).get("initContainers") or ()
    sidecars = {one.get("name") for one in declared if one.get("restartPolicy") == "Always"}
    found = (pod.get("status") or {}).get("initContainerStatuses") or ()
    for index, one in enumerate(found):
        state = one.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if terminated is not None:
            if not terminated.get("exitCode"):
                continue
            return f"Init:{ending_of(terminated)}"
        if one.get("name") in sidecars and one.get("started"):
            continue
        if waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{len(declared) or len(found)}"
    return None


def _of_containers(pod: Document, shown: str) -> str:
    runs = False
    for one in reversed((pod.get("status") or {}).get("containerStatuses") or ()):
        state = one.get("state") or {}
        waiting, terminated = state.get("waiting") or {}, state.get("terminated")
        if waiting.get("reason"):
            shown = str(waiting["reason"])
        elif terminated is not None:
            shown = ending_of(terminated)
        elif state.get("running") is not None and one.get("ready"):
            runs = True
    if shown == "Completed" and runs:
        return "Running" if is_ready(pod) else "NotReady"
    return shown
