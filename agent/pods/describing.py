"""One pod as the wire has it, out of the API's JSON. Pure; what the wire would refuse is cut off, for a pod may say anything."""

from datetime import UTC, datetime
from typing import Any

from agent.pods.reason import ending_of, is_ready, reason_of
from agent.wire.pods import MAX_LABELS, MAX_POD_CONTAINERS, ContainerState, PodContainer, PodInfo

_PHASES = ("Pending", "Running", "Succeeded", "Failed")
Document = dict[str, Any]


def describe(pod: Document) -> PodInfo:
    """What is known of a pod."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    phase = status.get("phase")
    found = status.get("containerStatuses") or ()
    labels = metadata.get("labels") or {}
    return PodInfo(
        name=metadata["name"],
        namespace=metadata.get("namespace") or "",
        uid=metadata["uid"],
        phase=phase if phase in _PHASES else "Unknown",
        start_time=time_of(status.get("startTime")),
        labels=dict(list(labels.items())[:MAX_LABELS]),
        ready=is_ready(pod),
        restart_count=min(2**31 - 1, sum(int(one.get("restartCount") or 0) for one in found)),
        containers=_containers(pod, found),
        reason=_cut(reason_of(pod)),
        host_ip=status.get("hostIP") or None,
        pod_ip=status.get("podIP") or None,
    )


def time_of(text: object) -> datetime | None:
    """A time as Kubernetes writes it (RFC 3339, UTC); None for none, or what is no time."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC) if text else None
    except (ValueError, OverflowError):
        return None


def _containers(pod: Document, found: Any) -> tuple[PodContainer, ...]:
    declared = (pod.get("spec") or {}).get("containers") or ()
    by_name = {one.get("name"): one for one in found}
    return tuple(_container(one, by_name.get(one.get("name")) or {}) for one in declared[:MAX_POD_CONTAINERS])


def _container(declared: Document, found: Document) -> PodContainer:
    """`found` is empty where no node has told of it yet: then it waits.

    The image is the one that is declared: a node names it in full (docker.io/library/shop:1.5), or by any other tag that it
    has for the same image. https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#PodStatus
    """
    state, last = found.get("state") or {}, (found.get("lastState") or {}).get("terminated")
    running, terminated = state.get("running"), state.get("terminated")
    ended = terminated if terminated is not None else last
    return PodContainer(
        name=str(declared.get("name", ""))[:253],
        image=str(declared.get("image") or found.get("image") or "")[:500],
        ready=bool(found.get("ready")),
        restart_count=min(2**31 - 1, int(found.get("restartCount") or 0)),
        state=_state(running, terminated),
        started_at=time_of((running or terminated or {}).get("startedAt")),
        reason=_cut(
            (state.get("waiting") or {}).get("reason") if terminated is None else ending_of(terminated)
        ),
        exit_code=None if ended is None else int(ended.get("exitCode") or 0),
        last_reason=None if last is None else _cut(ending_of(last)),
    )


def _state(running: Document | None, terminated: Document | None) -> ContainerState:
    if running is not None:
        return "running"
    return "waiting" if terminated is None else "terminated"


def _cut(text: Any) -> str | None:
    return str(text).replace("\x00", "")[:200] if text else None
