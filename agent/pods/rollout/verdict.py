"""How a rollout stands: decided from the Deployment alone, as `kubectl rollout status` does. Pure."""

from dataclasses import dataclass
from typing import Any, Literal

Document = dict[str, Any]

DEFAULT_DEADLINE_S = 600
"""Kubernetes' own, where a Deployment has no progressDeadlineSeconds."""
STALE_GRACE_S = 10.0
"""The cluster looks at deadlines now and then: this much later than due, a failure that was there before is the new one."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`why` is a sentence for the operator: what is waited for, or what is wrong."""

    state: Literal["waiting", "complete", "failed"]
    why: str


def judge(deployment: Document, *, stale: str | None = None, waited_s: float = 0) -> Verdict:
    """What the Deployment says of its newest rollout.

    `stale`: when the failure was noted that it had before the change (see `failed_at`): the cluster leaves that one
    standing until something moves, so it counts only once its deadline has passed since, `waited_s` seconds ago.
    """
    spec, status = deployment["spec"], deployment.get("status") or {}
    if int(status.get("observedGeneration") or 0) < int(deployment["metadata"]["generation"]):
        return Verdict("waiting", "the cluster has not seen the change yet")
    failure = failed_at(deployment)
    deadline_s = int(spec.get("progressDeadlineSeconds") or DEFAULT_DEADLINE_S)
    if failure is not None and (failure != stale or waited_s > deadline_s + STALE_GRACE_S):
        message = (
            condition_of(deployment, "Progressing").get("message") or "it exceeded its progress deadline"
        )
        return Verdict("failed", str(message) + _obstacle(deployment))
    wanted = wanted_replicas(deployment)
    updated, total = int(status.get("updatedReplicas") or 0), int(status.get("replicas") or 0)
    available = available_replicas(deployment)
    if updated < wanted:
        why = f"{updated} of {wanted} pods are of the new revision{_obstacle(deployment)}"
        return Verdict("waiting", why)
    if total > updated:
        return Verdict("waiting", f"{total - updated} pods of the revision before are still there")
    if available < updated:
        return Verdict("waiting", f"{available} of {updated} pods are available")
    return Verdict("complete", f"{available} of {wanted} pods are available")


def condition_of(deployment: Document, kind: str) -> Document:
    """The condition of that type, or an empty one."""
    conditions = (deployment.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one.get("type") == kind), {})


def failed_at(deployment: Document) -> str | None:
    """When the cluster noted that the rollout exceeded its deadline (as it wrote it); None where it did not."""
    progressing = condition_of(deployment, "Progressing")
    if progressing.get("status") != "False":
        return None
    return str(progressing.get("lastUpdateTime") or progressing.get("lastTransitionTime") or "")


def wanted_replicas(deployment: Document) -> int:
    """How many pods it is to have."""
    wanted = deployment["spec"].get("replicas")
    return 1 if wanted is None else int(wanted)


def available_replicas(deployment: Document) -> int:
    """How many of its pods the cluster counts as available: of the newest revision alone, where it is complete."""
    return int((deployment.get("status") or {}).get("availableReplicas") or 0)


def _obstacle(deployment: Document) -> str:
    """Why pods can't be made at all: a quota, a webhook, a policy."""
    failure = condition_of(deployment, "ReplicaFailure")
    return f" ({failure.get('message')})"[:500] if failure.get("status") == "True" else ""
