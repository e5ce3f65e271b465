"""What clients' containers are, by project, on the wire."""

from agent.wire.base import Answer, UtcDatetime
from agent.wire.containers import ContainerInfo


class ContainerSummary(Answer):
    """Counts over the newest reports. A client counts when its report has a container of the project."""

    total_clients: int
    total_containers: int
    running_count: int
    stopped_count: int


class ClientContainers(Answer):
    """The project's containers in a client's newest report, which was made at `last_report`.

    `truncated`: the client has more than fit into its report; those that run were kept first.
    """

    client_id: str
    containers: tuple[ContainerInfo, ...]
    last_report: UtcDatetime
    truncated: bool = False


class ProjectContainers(Answer):
    """What of a project runs in containers. `prefix` None: the project names none."""

    project_id: str
    prefix: str | None
    summary: ContainerSummary
    clients: tuple[ClientContainers, ...]


class ProjectCount(Answer):
    """A project's containers over the whole fleet."""

    project_id: str
    project_name: str
    prefix: str
    count: int
    running: int


class ContainersOverview(Answer):
    """`total_containers` counts every container of every newest report, matched to a project or not."""

    total_containers: int
    by_project: tuple[ProjectCount, ...]
