"""What a swap does to the engine: each step looks first, so that doing it again changes nothing."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from agent.containers.details import as_nanoseconds
from agent.containers.engine import Engine
from agent.containers.swap.choosing import Binding, Own
from agent.containers.swap.creating import (
    CLIENT,
    EXECUTION,
    PROJECT,
    RESTART,
    STOP_TIMEOUT,
    VERSION,
    arguments_of,
    labels_of,
    restart_policy_of,
)
from agent.executions.steps import StepFailed
from agent.wire.containers import ContainerDeployRequest, NetworkAttachment

if TYPE_CHECKING:
    from docker import APIClient

STEP_TIMEOUT_S = 60.0
LOG_LINES = 200
POLICY_TRIES, POLICY_RETRY_S = 10, 0.3
_STOP_TIMEOUT_S = 10


class Dock:
    """One project's containers of one client on the engine.

    Every method raises EngineUnavailable while the engine can't be asked, and StepFailed where it refuses.
    """

    def __init__(self, engine: Engine, project_id: str, client_id: str) -> None:
        self._engine = engine
        self._project_id = project_id
        self._client_id = client_id

    @contextmanager
    def _api(self, what: str) -> Iterator["APIClient"]:
        import docker.errors

        with self._engine.api(STEP_TIMEOUT_S) as api:
            try:
                yield api
            except docker.errors.APIError as error:
                raise StepFailed(f"cannot {what}: {error.explanation or error}"[:1000]) from error

    def own(self) -> list[Own]:
        """Every container with this project's and this client's labels."""
        import docker.errors

        labels = [f"{PROJECT}={self._project_id}", f"{CLIENT}={self._client_id}"]
        found = []
        with self._api("list the containers") as api:
            for listed in api.containers(all=True, filters={"label": labels}):
                try:
                    found.append(_own(api.inspect_container(listed["Id"])))
                except docker.errors.NotFound:
                    continue
        return found

    def names(self) -> set[str]:
        """Every name that is taken on the engine, whoever has it."""
        with self._api("list the containers") as api:
            return {name.removeprefix("/") for one in api.containers(all=True) for name in one["Names"]}

    def image_id(self, image: str) -> str | None:
        """The image's own digest where the engine has it."""
        import docker.errors

        with self._api(f"look for image {image}") as api:
            try:
                return str(api.inspect_image(image)["Id"])
            except docker.errors.ImageNotFound:
                return None

    def pull(
        self, image: str, credentials: dict[str, str] | None, on_answer: Callable[[Any], None]
    ) -> Iterator[dict[str, Any]]:
        """Have the engine fetch it: what it says meanwhile, in lines (POST /images/create).

        To be called in a thread of its own. `on_answer` is given the answer (a requests.Response) before its first line.
        """
        from docker.utils import parse_repository_tag

        repository, tag = parse_repository_tag(image)
        with self._api(f"pull {image}") as api:
            api.hooks["response"].append(lambda answer, **_: on_answer(answer))
            yield from api.pull(
                repository, tag=tag or "latest", auth_config=credentials, stream=True, decode=True
            )

    def create(self, request: ContainerDeployRequest, name: str) -> str | None:
        """The new container's id, attached to its networks without aliases; None where the name is taken."""
        import docker.errors

        config = request.deploy_config
        with self._api(f"create {name}") as api:
            try:
                labels = labels_of(request, self._client_id)
                made = api.create_container(name=name, labels=labels, **arguments_of(api, config))
            except docker.errors.APIError as error:
                if error.status_code == 409 and "in use" in str(error.explanation):
                    return None
                raise
            return str(made["Id"])

    def join_networks(self, container_id: str, networks: tuple[NetworkAttachment, ...]) -> None:
        """Attach it to those of its networks that it is not on yet, without their aliases."""
        for network in networks:
            if network.name not in ("host", "none") and network.name not in self._networks(container_id):
                with self._api(f"join the network {network.name}") as api:
                    api.connect_container_to_network(container_id, network.name)

    def set_aliases(self, container_id: str, networks: tuple[NetworkAttachment, ...], *, on: bool) -> None:
        """Let the networks' aliases lead to it, or not. The engine can't change one in place: it leaves and joins again."""
        for network in networks:
            if not network.aliases:
                continue
            joined = self._networks(container_id)
            has = set(joined.get(network.name) or ()) & set(network.aliases)
            if network.name in joined and has == (set(network.aliases) if on else set()):
                continue
            with self._api(f"give {', '.join(network.aliases)} on the network {network.name}") as api:
                if network.name in joined:
                    api.disconnect_container_from_network(container_id, network.name)
                aliases = list(network.aliases) if on else None
                api.connect_container_to_network(container_id, network.name, aliases=aliases)

    def _networks(self, container_id: str) -> dict[str, list[str] | None]:
        with self._api("look at the container's networks") as api:
            networks = api.inspect_container(container_id)["NetworkSettings"]["Networks"] or {}
            return {name: seen.get("Aliases") for name, seen in networks.items()}

    def start(self, container_id: str, name: str) -> None:
        """Start it; one that runs is left alone."""
        with self._api(f"start {name}") as api:
            api.start(container_id)

    def let_restart(self, own: Own, *, on: bool) -> None:
        """Give it back the restart policy that it was made with, or none: a stopped one must stay so over a reboot."""
        policy = restart_policy_of(own.labels.get(RESTART, "no")) if on else {"Name": "no"}
        for left in reversed(range(POLICY_TRIES)):
            try:
                with self._api(f"change the restart policy of {own.name}") as api:
                    api.update_container(own.container_id, restart_policy=policy)
                return
            except StepFailed as error:
                # It ends at this moment: the engine refuses ("task … not found") until it has noticed.
                if not left or "task" not in str(error) or "not found" not in str(error):
                    raise
                time.sleep(POLICY_RETRY_S)  # in the swap's own thread

    def stop(self, own: Own) -> None:
        """Stop it, with its own stop timeout, for good; one that is gone is fine."""
        import docker.errors

        timeout_s = int(own.labels.get(STOP_TIMEOUT) or _STOP_TIMEOUT_S)
        try:
            self.let_restart(own, on=False)
            with self._api(f"stop {own.name}") as api:
                api.stop(own.container_id, timeout=timeout_s)
        except StepFailed as error:
            if not isinstance(error.__cause__, docker.errors.NotFound):
                raise

    def remove(self, container_id: str, name: str) -> None:
        """Remove it, and the volumes that have no name; one that is gone is fine."""
        import docker.errors

        with self._api(f"remove {name}") as api:
            try:
                api.remove_container(container_id, v=True, force=True)
            except docker.errors.NotFound:
                return
            except docker.errors.APIError as error:
                if error.status_code != 409 or "in progress" not in str(error.explanation):
                    raise

    def inspect(self, container_id: str, name: str) -> dict[str, Any]:
        """All that the engine says of it."""
        with self._api(f"look at {name}") as api:
            return dict(api.inspect_container(container_id))

    def log(self, container_id: str) -> bytes:
        """The last lines of its output; empty where there is none to be had."""
        try:
            with self._api("read its log") as api:
                return bytes(api.logs(container_id, tail=LOG_LINES))
        except StepFailed:
            return b""


def _own(seen: dict[str, Any]) -> Own:
    labels = seen["Config"].get("Labels") or {}
    host, state = seen["HostConfig"], seen["State"]
    return Own(
        container_id=seen["Id"],
        name=seen["Name"].removeprefix("/"),
        state=state["Status"],
        version=labels.get(VERSION, ""),
        execution_id=labels.get(EXECUTION, ""),
        finished_ns=as_nanoseconds(state.get("FinishedAt")),
        bindings=frozenset(_bound(host.get("PortBindings") or {})),
        host_network=host.get("NetworkMode") == "host",
        labels=dict(labels),
    )


def _bound(bindings: dict[str, Any]) -> Iterator[Binding]:
    for port, places in bindings.items():
        for place in places or ():
            if str(place.get("HostPort") or "").isdigit() and place["HostPort"] != "0":
                yield place.get("HostIp") or "", int(place["HostPort"]), port.partition("/")[2] or "tcp"
