"""The one Deployment that a rollout is about, and its pods, in the cluster."""

from typing import Any

from agent.pods.cluster import Cluster, Document
from agent.pods.errors import ClusterRefused
from agent.pods.listing import Listed, Selection, list_pods
from agent.pods.rollout.reading import TEMPLATE_HASH, selector_of, template_hash

NOT_FOUND, CONFLICT = 404, 409
MOST_PODS = 1000
"""More than these are not looked at one by one: then the Deployment's own count says how many there are."""


class Dock:
    """Every question and change of a rollout. Raises ClusterUnavailable, ClusterRefused, NoCluster."""

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._apps = f"/apis/apps/v1/namespaces/{namespace}"
        self._path = f"{self._apps}/deployments/{name}"
        self.words = f"deployment {name} in namespace {namespace}"

    def look(self, *, replica_sets: bool) -> None:
        """Whether the agent may see the Deployment, its pods and, where they are needed, its ReplicaSets."""
        self.deployment()
        list_pods(self._cluster, Selection(self._namespace), most=1, page=1)
        if replica_sets:
            self._replica_sets(("limit", "1"))

    def deployment(self) -> Document | None:
        """As it is now; None where there is none."""
        try:
            return self._cluster.get(f"get {self.words}", self._path)
        except ClusterRefused as refused:
            if refused.status == NOT_FOUND:
                return None
            raise

    def change(self, seen: Document, metadata: dict[str, Any], spec: dict[str, Any]) -> Document | None:
        """Change what was `seen`: what it is then; None where it is not like that any more, and nothing was changed."""
        version = {"resourceVersion": seen["metadata"]["resourceVersion"]}
        changes = {"metadata": {**metadata, **version}, **({"spec": spec} if spec else {})}
        try:
            return self._cluster.patch(f"patch {self.words}", self._path, changes)
        except ClusterRefused as refused:
            if refused.status == CONFLICT:
                return None
            raise

    def pods(self, deployment: Document) -> Listed:
        """All of the Deployment's, of any revision."""
        return self._pods(selector_of(deployment))

    def new_pods(self, deployment: Document) -> Listed:
        """Those of its newest revision; none where the cluster has not begun with it."""
        selector = selector_of(deployment)
        marked = template_hash(deployment, self._replica_sets(("labelSelector", selector), ("limit", "500")))
        return Listed((), "") if marked is None else self._pods(f"{selector},{TEMPLATE_HASH}={marked}")

    def _replica_sets(self, *query: tuple[str, str]) -> list[Document]:
        what = f"list replicasets of {self.words}"
        return list(self._cluster.get(what, f"{self._apps}/replicasets", query).get("items") or ())

    def _pods(self, selector: str) -> Listed:
        return list_pods(self._cluster, Selection(self._namespace, selector), MOST_PODS)
