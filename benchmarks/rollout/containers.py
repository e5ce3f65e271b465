"""A simulated client's container engine: what it has is listed, collected, and put in place. No container really runs."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from agent.naming import make_name
from agent.wire.containers import (
    CollectedContainers,
    ContainerDeployRequest,
    ContainerInfo,
    ContainerState,
    ListedContainers,
)
from agent.wire.executions import DeployedContainer

IMAGE_ID = "sha256:" + "1" * 64


@dataclass
class SimulatedEngine:
    """One host's. `deployments`: what was asked of it. `lists`: whether `container.list` is answered."""

    client_id: str
    containers: dict[str, ContainerInfo] = field(default_factory=dict)
    deployments: list[ContainerDeployRequest] = field(default_factory=list)
    lists: bool = True

    def add(self, name: str, state: ContainerState = "running", **fields: Any) -> ContainerInfo:
        """A container that is there, started now."""
        now = datetime.now(UTC)
        self.containers[name] = ContainerInfo(
            container_id=f"{self.client_id}-{name}",
            container_name=name,
            state=state,
            **{"image": "boxes", "image_id": IMAGE_ID, "created_at": now, "started_at": now, **fields},
        )
        return self.containers[name]

    def listed(self) -> ListedContainers:
        """What `container.list` answers."""
        return ListedContainers(containers=tuple(self.containers.values()))

    def collected(self) -> CollectedContainers:
        """What `container.collect` answers."""
        later = datetime.now(UTC) + timedelta(seconds=1)
        return CollectedContainers(containers=tuple(self.containers.values()), collected_at=later)

    def put_in_place(self, asked: ContainerDeployRequest) -> DeployedContainer:
        """The project's other containers end; the new one, or for a rollback the one that was kept, runs."""
        for one in tuple(self.containers.values()):
            if (one.project_id, one.client_id) == (asked.project_id, self.client_id):
                self.containers[one.container_name] = one.model_copy(update={"state": "exited"})
        name = asked.name if asked.operation == "rollback" and asked.name in self.containers else None
        made = self.add(
            name or self._free_name(asked),
            image=asked.deploy_config.image,
            version=asked.version,
            project_id=asked.project_id,
            client_id=self.client_id,
        )
        return DeployedContainer(
            container_id=made.container_id,
            container_name=made.container_name,
            image=made.image,
            image_id=IMAGE_ID,
        )

    def _free_name(self, asked: ContainerDeployRequest) -> str:
        if asked.name is not None and asked.name not in self.containers:
            return asked.name
        assert asked.naming is not None
        return make_name(
            asked.naming,
            environment=asked.environment or "",
            version=asked.version,
            at=datetime.now(UTC),
            taken=self.containers.keys(),
        )
