"""What clients' pods are, by project, on the wire."""

from agent.wire.base import Answer, UtcDatetime
from agent.wire.pods import PodInfo


class PodSummary(Answer):
    """Counts over the newest reports. A client counts when it has a pod of the project; a finished pod is not ready."""

    total_clients: int
    total_pods: int
    ready_count: int
    not_ready_count: int
    failed_count: int


class ReportedPod(PodInfo):
    """A pod, as the newest report that has it says; that was made at `reported_at`."""

    reported_at: UtcDatetime


class ClientPods(Answer):
    """The project's pods in a client's cluster. `last_report`: the newest report of any of them.

    `truncated`: the client has more pods than fit into its report.
    """

    client_id: str
    pods: tuple[ReportedPod, ...]
    last_report: UtcDatetime
    truncated: bool


class ProjectPods(Answer):
    """What of a project runs in pods. `prefix` None: the project's pods are known by its configuration alone."""

    project_id: str
    prefix: str | None
    summary: PodSummary
    clients: tuple[ClientPods, ...]
