"""What goes wrong between the agent and a cluster."""

from agent.errors import Refused

PART = "kubernetes"


class ClusterError(Refused):
    """The base of them all."""


class ClusterUnavailable(ClusterError):
    """The API server is absent, down or too slow: 503. The same request may work later."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(503, "Cluster unavailable", f"cannot reach the cluster: {why}", part=PART)


class NoCluster(ClusterError):
    """No cluster was given to this agent, or what it was given can't be used: 409, no use trying again."""

    def __init__(self, why: str) -> None:
        super().__init__(409, "No cluster", f"cannot ask a cluster: {why}", part=PART)


class ClusterRefused(ClusterError):
    """The cluster answered, and refused. `status` is its own: 403 where RBAC forbids it, 404, 409, 410, 422…"""

    def __init__(self, status: int, what: str, why: str) -> None:
        """`what` was to be done: "list pods in namespace shop"."""
        self.status = status
        self.why = why
        title = "Forbidden by the cluster" if status in (401, 403) else "Refused by the cluster"
        super().__init__(403 if status == 401 else status, title, f"cannot {what}: {why}"[:2000], part=PART)
