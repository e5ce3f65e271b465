"""Whose a pod is: the project whose labels it has, else the one with the longest prefix of its name. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agent.naming import Claim, Claims
from agent.wire.naming import ContainerNaming
from db.documents.kubernetes_config import ProjectKubernetes

Label = tuple[str, str]


@dataclass(frozen=True, slots=True)
class PodClaim:
    """What a project claims of a cluster's pods. `namespace` None: in any.

    `prefixes`: (prefix, separator) pairs that names begin with; `labels`: all of which a pod must have.
    """

    project_id: str
    namespace: str | None = None
    prefixes: tuple[tuple[str, str], ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


class PodClaims:
    """Many claims, asked about many pods: by index instead of a walk over all of them."""

    def __init__(self, claims: Iterable[PodClaim]) -> None:
        self._claims = sorted(claims, key=lambda claim: claim.project_id)
        self._by_label: dict[Label, list[PodClaim]] = defaultdict(list)
        for claim in self._claims:
            if claim.labels:
                self._by_label[min(claim.labels.items())].append(claim)
        self._by_namespace: dict[str, Claims] = {}

    def owner_of(self, name: str, namespace: str, labels: Mapping[str, str]) -> str | None:
        """The project's id. Of two whose labels it has, the one with more of them, then the older one."""
        if self._by_label:
            found = [
                claim
                for label in labels.items()
                for claim in self._by_label.get(label, ())
                if claim.namespace in (None, namespace) and claim.labels.items() <= labels.items()
            ]
            if found:
                return min(found, key=lambda claim: (-len(claim.labels), claim.project_id)).project_id
        owner = self._named(namespace).owner_of(name)
        return owner.project_id if owner is not None else None

    def _named(self, namespace: str) -> Claims:
        if namespace not in self._by_namespace:
            there = [claim for claim in self._claims if claim.namespace in (None, namespace)]
            # Of two with the same prefix the older project's counts: it comes last.
            self._by_namespace[namespace] = Claims(
                Claim(claim.project_id, prefix, separator)
                for claim in reversed(there)
                for prefix, separator in claim.prefixes
            )
        return self._by_namespace[namespace]


def pod_claim(
    project_id: str, naming: ContainerNaming | None, kubernetes: ProjectKubernetes | None
) -> PodClaim:
    """What a project claims: by its containers' prefix, by its Deployment's name, by its labels.

    One that says where its Deployment is claims pods of that namespace alone.
    """
    prefixes = [(naming.prefix, naming.separator)] if naming is not None else []
    if kubernetes is None:
        return PodClaim(project_id, None, tuple(prefixes))
    if kubernetes.deployment is not None:
        prefixes.append((kubernetes.deployment, "-"))
    return PodClaim(project_id, kubernetes.namespace, tuple(prefixes), kubernetes.match_labels)
