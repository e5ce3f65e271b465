"""What a Deployment says about itself, out of the API's JSON. Pure."""

from typing import Any

from agent.executions.steps import StepFailed
from agent.wire.pods import PodInfo

Document = dict[str, Any]

PROJECT, VERSION, CLIENT = "hoist.project", "hoist.version", "hoist.client"
EXECUTION = "hoist.execution"
"""The execution that changed it last: by this a resumed one knows its own change."""
REPLICAS = "hoist.replicas"
"""How many it had before it was uninstalled."""
OURS = (PROJECT, VERSION, CLIENT, EXECUTION, REPLICAS)
REVISION = "deployment.kubernetes.io/revision"
TEMPLATE_HASH = "pod-template-hash"


def annotations_of(document: Document) -> dict[str, str]:
    """Its annotations."""
    return dict(document["metadata"].get("annotations") or {})


def container_of(deployment: Document, name: str | None) -> str:
    """The container that gets the image: the one that is named, or the only one. Raises StepFailed."""
    there = [str(one["name"]) for one in _containers(deployment)]
    if name is None and len(there) == 1:
        return there[0]
    if name is None:
        raise StepFailed(f"it has {len(there)} containers ({', '.join(there)}): say which (container)")
    if name not in there:
        raise StepFailed(f"it has no container {name}, only {', '.join(there)}")
    return name


def image_of(deployment: Document, container: str) -> str | None:
    """The container's image in the template; None where it is gone."""
    return next((str(one["image"]) for one in _containers(deployment) if one["name"] == container), None)


def revision_of(document: Document) -> int | None:
    """A Deployment's newest revision, or the one that a ReplicaSet is."""
    text = annotations_of(document).get(REVISION, "")
    return int(text) if text.isascii() and text.isdigit() else None


def selector_of(deployment: Document) -> str:
    """Its selector as a query has it."""
    selector = deployment["spec"]["selector"]
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    more = selector.get("matchExpressions") or ()
    parts += [_expression(one["key"], one["operator"], one.get("values") or ()) for one in more]
    return ",".join(parts)


def template_hash(deployment: Document, replica_sets: list[Document]) -> str | None:
    """What marks the pods of its newest revision; None where the cluster has not made it yet."""
    uid, revision = deployment["metadata"]["uid"], revision_of(deployment)
    for one in replica_sets:
        owners = one["metadata"].get("ownerReferences") or ()
        if any(owner.get("uid") == uid for owner in owners) and revision_of(one) == revision:
            return (one["metadata"].get("labels") or {}).get(TEMPLATE_HASH)
    return None


def trouble_of(pod: PodInfo) -> str | None:
    """What is wrong with a pod that isn't ready, in words; None where nothing is."""
    if pod.ready:
        return None
    said = [pod.reason or pod.phase]
    for one in pod.containers:
        if one.last_reason is not None and one.last_reason != pod.reason:
            said.append(f"{one.name} ended with {one.last_reason}")
        if one.exit_code is not None:
            said.append(f"exit code {one.exit_code}")
        if one.restart_count:
            said.append(f"{one.restart_count} restarts")
    return f"{pod.name}: {', '.join(said)}"


def _containers(deployment: Document) -> list[Document]:
    return list(deployment["spec"]["template"]["spec"].get("containers") or ())


def _expression(key: str, operator: str, values: Any) -> str:
    if operator == "Exists":
        return str(key)
    if operator == "DoesNotExist":
        return f"!{key}"
    word = "in" if operator == "In" else "notin"
    return f"{key} {word} ({','.join(values)})"
