"""All pods of a selection, page by page, as they were at one moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agent.pods.cluster import Cluster, Query
from agent.pods.describing import describe
from agent.pods.errors import ClusterRefused, ClusterUnavailable
from agent.wire.pods import MAX_PODS, PodInfo

PAGE = 500
"""As kubectl's: few requests, and no answer of many megabytes in memory."""
ATTEMPTS = 3
"""A list whose next page has expired (410) is begun anew: the cluster forgets what is older than about five minutes."""
GONE = 410


@dataclass(frozen=True, slots=True)
class Selection:
    """Which pods; None: of all namespaces, with any labels."""

    namespace: str | None = None
    label_selector: str | None = None

    @property
    def path(self) -> str:
        """Where the API has them."""
        return "/api/v1/pods" if self.namespace is None else f"/api/v1/namespaces/{self.namespace}/pods"

    @property
    def query(self) -> Query:
        """The selector as a parameter."""
        return () if self.label_selector is None else (("labelSelector", self.label_selector),)

    @property
    def words(self) -> str:
        """For messages: "pods in namespace shop"."""
        place = "all namespaces" if self.namespace is None else f"namespace {self.namespace}"
        return f"pods in {place}"


@dataclass(frozen=True, slots=True)
class Listed:
    """`resource_version`: from where a watch goes on; `truncated`: there are more than were asked for."""

    pods: tuple[PodInfo, ...]
    resource_version: str
    truncated: bool = False


def list_pods(cluster: Cluster, selection: Selection, most: int = MAX_PODS, page: int = PAGE) -> Listed:
    """The selection's pods, `most` of them. Raises ClusterUnavailable, ClusterRefused, NoCluster."""
    for _ in range(ATTEMPTS):
        listed = _list_once(cluster, selection, most, page)
        if listed is not None:
            return listed
    raise ClusterUnavailable(f"it forgets the list of {selection.words} faster than it can be read")


def _list_once(cluster: Cluster, selection: Selection, most: int, page: int) -> Listed | None:
    """None where a page had expired."""
    pods: list[PodInfo] = []
    token = ""
    while True:
        query = [*selection.query, ("limit", str(page)), *([("continue", token)] if token else [])]
        try:
            document = cluster.get(f"list {selection.words}", selection.path, query)
        except ClusterRefused as refused:
            if refused.status == GONE and token:
                return None
            raise
        pods += _described(document.get("items") or ())
        metadata = document.get("metadata") or {}
        token = str(metadata.get("continue") or "")
        if not token or len(pods) >= most:
            truncated = bool(token) or len(pods) > most
            return Listed(tuple(pods[:most]), str(metadata.get("resourceVersion") or ""), truncated)


def _described(items: Sequence[dict[str, Any]]) -> list[PodInfo]:
    return [describe(item) for item in items]
