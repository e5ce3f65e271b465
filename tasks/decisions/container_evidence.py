"""What is wrong with a container that a deployment left on a client: judged from two looks at it. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from agent.wire.containers import ContainerInfo
from agent.wire.executions import DeployedContainer


class ContainerFault(StrEnum):
    """Why a container proves nothing."""

    NO_CONTAINER = "no_container"
    NOT_RUNNING = "container_not_running"
    WRONG_IMAGE = "wrong_image"
    RESTARTED = "container_restarted"
    UNHEALTHY = "container_unhealthy"


@dataclass(frozen=True, slots=True)
class Fault:
    """`final`: looking again will not change it."""

    reason: ContainerFault
    detail: str
    final: bool = False


def find_container(wanted: DeployedContainer, containers: Sequence[ContainerInfo]) -> ContainerInfo | None:
    """The container that the deployment made, by its id."""
    return next((one for one in containers if one.container_id == wanted.container_id), None)


def container_faults(wanted: DeployedContainer, containers: Sequence[ContainerInfo]) -> Iterator[Fault]:
    """What keeps it from being well now: not there, not running, another image, restarts, an unhealthy answer."""
    name = wanted.container_name
    found = find_container(wanted, containers)
    if found is None:
        yield Fault(ContainerFault.NO_CONTAINER, f"there is no container {name} ({wanted.container_id[:12]})")
        return
    if found.state != "running":
        said = f", exit code {found.exit_code}" if found.exit_code is not None else ""
        yield Fault(ContainerFault.NOT_RUNNING, f"{name} is {found.state}{said}")
    if found.image_id is not None and found.image_id != wanted.image_id:
        said = f"{name} runs {found.image_id[:19]}, not {wanted.image_id[:19]}"
        yield Fault(ContainerFault.WRONG_IMAGE, said, final=True)
    restarts = (found.restart_count or 0) - wanted.restart_count
    if restarts > 0:
        yield Fault(ContainerFault.RESTARTED, f"{name} restarted {restarts} times", final=True)
    if found.health in ("starting", "unhealthy"):
        yield Fault(ContainerFault.UNHEALTHY, f"{name} is {found.health}")


def container_changed(
    wanted: DeployedContainer, first: Sequence[ContainerInfo], now: Sequence[ContainerInfo]
) -> Fault | None:
    """Whether it is another one than when everything held first: gone, or started anew. Final."""
    before, after = find_container(wanted, first), find_container(wanted, now)
    if before is None:
        return None
    if after is None:
        return Fault(
            ContainerFault.NO_CONTAINER, f"{wanted.container_name} is gone after it had held", final=True
        )
    if after.state != "running" or after.started_at != before.started_at:
        said = f"{wanted.container_name} ended or restarted after it had held ({after.state})"
        return Fault(ContainerFault.RESTARTED, said, final=True)
    return None


def uptime_s(
    wanted: DeployedContainer, containers: Sequence[ContainerInfo], collected_at: datetime | None
) -> float:
    """How long it runs already, in seconds, by its own host's clock; 0 where that is not known."""
    found = find_container(wanted, containers)
    if found is None or found.started_at is None or collected_at is None:
        return 0.0
    return max(0.0, (collected_at - found.started_at).total_seconds())
