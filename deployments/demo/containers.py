"""The demo's second project: a web server in a container, in two versions, on the engine that this machine has.

No registry is needed: the images are made from scratch, of a static busybox. Three hosts share one machine here, and so
its one engine: each agent knows its own containers by their labels.
"""

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployments.demo.errors import DemoError
from deployments.demo.fleet import Fleet
from deployments.demo.upgrade import STRATEGY, run

NAME = "hoist-demo"
IMAGE = "hoist-demo-web"
FROM, TO = "1.0", "1.1"
_DOCKERFILE = """FROM scratch
COPY busybox /bin/busybox
COPY version /www/index.html
HEALTHCHECK --interval=1s --timeout=2s CMD ["/bin/busybox", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/"]
ENTRYPOINT ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/www"]
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One client's container after the upgrade, as the release API tells it."""

    client: str
    container: str
    version: str
    image: str
    state: str
    memory_mb: str


class Engine:
    """The machine's own engine. Every method raises DemoError where it does not do what it is asked for."""

    def __init__(self) -> None:
        import docker

        self.host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        self._busybox = _static_busybox()
        try:
            self._api = docker.APIClient(base_url=self.host, timeout=60)
            self._api.ping()
        except Exception as error:
            raise DemoError(
                f"no Docker engine answers at {self.host}: start one (dockerd) to see it"
            ) from error

    def build(self, version: str) -> None:
        """An image that says its version to whoever asks."""
        context = io.BytesIO()
        with tarfile.open(fileobj=context, mode="w") as tar:
            tar.add(self._busybox, "busybox")
            for name, content in (("Dockerfile", _DOCKERFILE), ("version", f"{version}\n")):
                entry = tarfile.TarInfo(name)
                entry.size = len(content.encode())
                tar.addfile(entry, io.BytesIO(content.encode()))
        context.seek(0)
        tag = f"{IMAGE}:{version}"
        with _asked_to(f"build the image {tag}"):
            for line in self._api.build(fileobj=context, custom_context=True, tag=tag, rm=True, decode=True):
                if "error" in line:
                    raise DemoError(f"cannot build the image {tag}: {line['error']}")

    def served_version(self, container_id: str) -> str:
        """What the container itself answers, asked inside of it."""
        command = ["/bin/busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/"]
        with _asked_to(f"ask the container {container_id[:12]} for its version"):
            made = self._api.exec_create(container_id, command)
            return bytes(self._api.exec_start(made["Id"])).decode(errors="replace").strip()

    def running(self, client_id: str) -> list[str]:
        """The ids of the client's running containers of the demo."""
        labels = [f"hoist.client={client_id}"]
        with _asked_to("list its containers"):
            found = self._api.containers(filters={"label": labels, "name": f"^/{NAME}-"})
        return [str(one["Id"]) for one in found]

    def remove_containers(self) -> int:
        """Remove all of the demo's containers, an earlier one's too; how many there were."""
        with _asked_to("remove the demo's containers"):
            found = self._api.containers(all=True, filters={"label": "hoist.client", "name": f"^/{NAME}-"})
            for one in found:
                self._api.remove_container(one["Id"], force=True, v=True)
        return len(found)


@contextmanager
def _asked_to(what: str) -> Iterator[None]:
    import docker.errors
    import requests.exceptions
    import urllib3.exceptions

    errors = (
        *(docker.errors.DockerException, requests.exceptions.RequestException),
        *(urllib3.exceptions.HTTPError, ConnectionError, TimeoutError),
    )
    try:
        yield
    except errors as error:
        raise DemoError(f"the Docker engine cannot {what}: {error}") from error


def find_engine(say: Callable[[str], None]) -> Engine | None:
    """The engine, or None, having said why the second project is left out."""
    try:
        engine = Engine()
        engine.remove_containers()
    except DemoError as error:
        say(f"the container project is left out, the rest goes on: {error}")
        return None
    return engine


def leave_engine(engine: Engine, say: Callable[[str], None]) -> None:
    """Remove what the demo made there, or say that it is left."""
    try:
        engine.remove_containers()
    except DemoError as error:
        say(f"the demo's containers are left: {error}")


def register(fleet: Fleet, engine: Engine) -> str:
    """Images, project, environment, targets and the two versions; answers with the project's id."""
    naming = {"prefix": NAME}
    project = fleet.api.post("/projects", name=NAME, type="container", container_naming=naming)
    environment = fleet.api.post(f"/projects/{project['id']}/environments", name="prod")
    for client_id in fleet.agents:
        target = {"client_id": client_id, "name": client_id, "type": "host"}
        fleet.api.post(f"/environments/{environment['id']}/targets", **target)
    for version in (FROM, TO):
        engine.build(version)
        config = {"image": f"{IMAGE}:{version}", "pull": "never", "stop_timeout_s": 1}
        fleet.api.post(
            "/versions", project_id=project["id"], version=version, status="active", deploy_config=config
        )
    return str(project["id"])


def install(fleet: Fleet, project_id: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Install the first version on every client, all at once."""
    request = {"version": FROM, "operation": "install", "client_ids": list(fleet.agents)}
    request["strategy"] = STRATEGY | {"waves": ["100%"]}
    return run(fleet, {"project_id": project_id, **request}, say)


def upgrade(fleet: Fleet, project_id: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Upgrade whoever has the first version."""
    request = {"version": TO, "operation": "update", "auto_select_clients": True, "source_version": FROM}
    return run(fleet, {"project_id": project_id, **request, "strategy": STRATEGY}, say)


def read_back(fleet: Fleet, task: dict[str, Any], project_id: str) -> list[Row]:
    """What the release API says of every client's new container: the result's, as the newest report has it."""
    reports = fleet.api.get(f"/projects/{project_id}/containers")["clients"]
    newest = {
        container["container_id"]: container
        for report in sorted(reports, key=lambda report: report["last_report"])
        for container in report["containers"]
    }
    rows = []
    for result in fleet.api.get(f"/tasks/{task['id']}/results"):
        seen = newest.get(result["container_id"], {})
        used = seen.get("memory_usage")
        rows.append(
            Row(
                result["client_id"],
                result["container_name"] or "–",
                seen.get("version") or "–",
                (seen.get("image_id") or "–")[:19],
                seen.get("state") or "–",
                f"{used / 1e6:.1f}" if used else "–",
            )
        )
    return rows


def served_versions(fleet: Fleet, engine: Engine) -> dict[str, str | None]:
    """What the containers of each client answer themselves; None where it isn't exactly one that runs."""
    found = {client_id: engine.running(client_id) for client_id in fleet.agents}
    return {
        client_id: engine.served_version(ids[0]) if len(ids) == 1 else None
        for client_id, ids in found.items()
    }


def _static_busybox() -> Path:
    """Raises DemoError where there is none: an image from scratch has no libraries."""
    path = shutil.which("busybox")
    # ldd(1) fails for a program that wants no dynamic linker.
    if path is None or subprocess.run(["ldd", path], capture_output=True, check=False).returncode == 0:
        raise DemoError("its images are made of a static busybox: apt-get install busybox-static")
    return Path(path)
