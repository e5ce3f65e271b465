"""What is wrong with the pods that a deployment left in a cluster: judged from two looks at them. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from agent.wire.executions import DeployedKubernetes
from agent.wire.pods import PodInfo
from tasks.decisions.images import same_image
from tasks.decisions.pod_troubles import trouble_of

TEMPLATE_HASH = "pod-template-hash"
"""The label that a Deployment's pods have, and their names after the Deployment's, as far as there is room."""
LONGEST_BASE = 58
"""Of what a pod's name is made of so many characters are kept; five by chance follow. See
https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apiserver/pkg/storage/names/generate.go."""
LEAVING = "Terminating"
NAMED_AT_MOST = 5


class PodFault(StrEnum):
    """Why pods prove nothing."""

    NO_POD = "no_pod"
    NOT_READY = "pod_not_ready"
    RESTARTED = "pod_restarted"
    OTHER_REVISION = "other_revision"
    WRONG_IMAGE = "wrong_image"


@dataclass(frozen=True, slots=True)
class Fault:
    """`final`: looking again will not change it."""

    reason: PodFault
    detail: str
    final: bool = False


def pods_of(deployment: str, pods: Sequence[PodInfo]) -> tuple[PodInfo, ...]:
    """Those of the Deployment, of any revision, that have not ended and are not on their way out.

    Deployments whose names are alike in their first 58 characters can't be told apart: one's pods count as the other's too.
    """
    return tuple(
        pod
        for pod in pods
        if TEMPLATE_HASH in pod.labels
        and pod.name.startswith(f"{deployment}-{pod.labels[TEMPLATE_HASH]}-"[:LONGEST_BASE])
        and pod.phase not in ("Succeeded", "Failed")
        and pod.reason != LEAVING
    )


def pod_faults(wanted: DeployedKubernetes, pods: Sequence[PodInfo]) -> Iterator[Fault]:
    """What keeps them from being well now: too few, not ready, of two revisions, another image."""
    mine = pods_of(wanted.deployment, pods)
    if not mine:
        yield Fault(PodFault.NO_POD, f"deployment {wanted.deployment} has no pod")
        return
    ill = [pod for pod in mine if not pod.ready]
    if ill:
        said = "; ".join(
            f"{one.name}: {trouble_of(one) or one.reason or one.phase}" for one in ill[:NAMED_AT_MOST]
        )
        yield Fault(PodFault.NOT_READY, f"{len(ill)} of {len(mine)} pods are not ready: {said}"[:1000])
    if len(mine) - len(ill) < wanted.replicas:
        yield Fault(PodFault.NOT_READY, f"{len(mine) - len(ill)} of {wanted.replicas} pods are ready")
    if len({pod.labels[TEMPLATE_HASH] for pod in mine}) > 1:
        yield Fault(PodFault.OTHER_REVISION, f"deployment {wanted.deployment} has pods of several revisions")
    images = [image for pod in mine for image in _images(wanted, pod)]
    other = [image for image in images if wanted.image and same_image(image, wanted.image) is False]
    if other:
        yield Fault(PodFault.WRONG_IMAGE, f"runs {other[0]}, not {wanted.image}", final=True)


def pods_changed(
    wanted: DeployedKubernetes, first: Sequence[PodInfo], now: Sequence[PodInfo]
) -> Fault | None:
    """Whether one of them was restarted since everything held first. Final.

    One that is gone counts where too few are left: a cluster may move pods.
    """
    before = {pod.uid: pod.restart_count for pod in pods_of(wanted.deployment, first)}
    anew = [pod.name for pod in now if pod.restart_count > before.get(pod.uid, pod.restart_count)]
    if anew:
        said = f"restarted after it had held: {', '.join(anew[:NAMED_AT_MOST])}"
        return Fault(PodFault.RESTARTED, said, final=True)
    return None


def _images(wanted: DeployedKubernetes, pod: PodInfo) -> Iterator[str]:
    """Of the container that got the image; of its only one, where the agent does not say which."""
    for one in pod.containers:
        if one.name == wanted.container or (wanted.container is None and len(pod.containers) == 1):
            yield one.image
