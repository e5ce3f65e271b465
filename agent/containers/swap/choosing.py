"""Which containers a swap is about: pure decisions over what the engine has."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from agent.wire.containers import DeployConfig

EVERYWHERE = ("0.0.0.0", "::", "")
RUNNING = ("running", "paused", "restarting")
Binding = tuple[str, int, str]
"""Address, port and protocol on the host."""


@dataclass(frozen=True, slots=True)
class Own:
    """A container with this project's and this client's labels. `finished_ns`: Unix time in nanoseconds, 0 before an end."""

    container_id: str
    name: str
    state: str
    version: str
    execution_id: str
    finished_ns: int
    bindings: frozenset[Binding] = frozenset()
    host_network: bool = False
    labels: dict[str, str] = field(default_factory=dict, compare=False)

    @property
    def runs(self) -> bool:
        """Whether it serves, or will again by itself."""
        return self.state in RUNNING


def wanted_bindings(config: DeployConfig) -> frozenset[Binding]:
    """The ports of the host that the container is to have; one that the engine chooses is in nobody's way."""
    return frozenset(
        (port.host_ip, port.host_port, port.protocol) for port in config.ports if port.host_port is not None
    )


def in_the_way(config: DeployConfig, previous: Iterable[Own]) -> bool:
    """Whether a previous container has to go first: the same port of the host, or both on the host's own network."""
    wanted = wanted_bindings(config)
    on_host = any(network.name == "host" for network in config.networks)
    return any(
        (on_host and one.host_network) or any(_overlap(mine, his) for mine in wanted for his in one.bindings)
        for one in previous
    )


def _overlap(one: Binding, other: Binding) -> bool:
    same_address = one[0] == other[0] or one[0] in EVERYWHERE or other[0] in EVERYWHERE
    return same_address and one[1:] == other[1:]


def kept_of(version: str, own: Sequence[Own]) -> Own | None:
    """The stopped container of that version that ended last."""
    kept = [one for one in own if one.state == "exited" and one.version == version]
    return max(kept, key=lambda one: one.finished_ns, default=None)


def to_prune(own: Sequence[Own], new_id: str, keep: int) -> list[Own]:
    """Of those that don't run: what never ran at all, and all but the `keep` that ended last."""
    stopped = [one for one in own if not one.runs and one.container_id != new_id]
    ended = sorted(
        (one for one in stopped if one.state == "exited"), key=lambda one: one.finished_ns, reverse=True
    )
    return [one for one in stopped if one.state != "exited"] + ended[keep:]
