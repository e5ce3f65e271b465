"""What is wrong with a pod, in words. Pure."""

import hashlib
from collections.abc import Iterator

from agent.wire.pods import PodContainer, PodInfo

FAILING = frozenset(
    {
        "ContainerCannotRun",
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "Error",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "OOMKilled",
        "PostStartHookError",
        "PreStartHookError",
        "RegistryUnavailable",
        "RunContainerError",
        "StartError",
    }
)
"""Why a container does not run, where waiting alone won't help.

https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/container/sync_result.go and …/images/types.go
"""
_INIT = "Init:"
_ENDED = ("ExitCode:", "Signal:")
MAX_SUBJECT = 253


def subject_of(pod: PodInfo) -> str:
    """What its alerts are about: namespace and name, of 253 characters at most."""
    said = f"{pod.namespace}/{pod.name}"
    if len(said) <= MAX_SUBJECT:
        return said
    digest = hashlib.blake2b(said.encode(), digest_size=8).hexdigest()
    return f"{said[: MAX_SUBJECT - len(digest) - 1]}~{digest}"


def trouble_of(pod: PodInfo) -> str | None:
    """Why it fails; None where it doesn't, or only waits."""
    if pod.phase == "Failed":
        return pod.reason or "Failed"
    if pod.phase == "Succeeded":
        return None
    reason = (pod.reason or "").removeprefix(_INIT)
    if (pod.reason or "").startswith(_INIT) and (reason in FAILING or reason.startswith(_ENDED)):
        return pod.reason
    return "; ".join(_troubles(pod)) or None


def _troubles(pod: PodInfo) -> Iterator[str]:
    for one in pod.containers:
        waits = one.state == "waiting" and one.reason in FAILING
        ended = one.state == "terminated" and one.exit_code not in (None, 0)
        if waits or ended:
            yield f"{one.name}: {one.reason or 'ended'}{_last(one)}"


def restart_of(pod: PodInfo) -> str:
    """How often it was restarted, and why its containers ended."""
    why = [f"{one.name}{_last(one)}" for one in pod.containers if one.restart_count]
    return f"{pod.restart_count} times so far" + (f" ({'; '.join(why)})" if why else "")


def _last(one: PodContainer) -> str:
    said = []
    if one.last_reason is not None and one.last_reason != one.reason:
        said.append(f"ended with {one.last_reason}")
    if one.exit_code is not None:
        said.append(f"exit code {one.exit_code}")
    if one.restart_count:
        said.append(f"{one.restart_count} restarts")
    return f" ({', '.join(said)})" if said else ""
