"""A Docker engine of the tests' own, and the images that they deploy: built from scratch, for no registry is reached."""

import fcntl
import io
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.agents import is_running
from tests.real_processes import wait_until

HERE = Path(__file__).parent
GET_ONE = "bash deployments/install-test-needs.sh (as root; Debian's docker.io)"


class DockerEngine:
    """`dockerd` with its state in one directory and its socket there; a bridge of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "docker.sock"
        self.url = f"unix://{self.socket}"
        self.bridge = f"hoist{os.getpid() % 100_000}"
        self._process: Any = None
        self._api: Any = None

    def start(self) -> "DockerEngine":
        """Start it (again), and wait until it answers."""
        _run("ip", "link", "add", self.bridge, "type", "bridge")
        pid = os.getpid()
        _run("ip", "address", "add", f"10.{100 + pid // 250 % 100}.{pid % 250}.1/24", "dev", self.bridge)
        with _one_at_a_time(), (self.folder / "dockerd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(str(_dockerd()), "--host", self.url, "--bridge", self.bridge),
                    *("--data-root", str(self.folder / "data"), "--exec-root", str(self.folder / "exec")),
                    *("--pidfile", str(self.folder / "dockerd.pid"), "--group", "root"),
                    "--max-download-attempts=1",  # a blob that breaks off is told at once
                    # Another engine on this machine has networks, which ours must not overlap.
                    *("--default-address-pool", f"base={self._pool()},size=24"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            wait_until(self._answers)
        return self

    @property
    def api(self) -> docker.APIClient:
        """The engine's own API, at a low level."""
        if self._api is None:
            self._api = docker.APIClient(base_url=self.url, timeout=60)
        return self._api

    def build(self, tag: str, *, health: bool = True, **env: str) -> str:
        """An image of `tests/images/app.c` that says `tag`'s version; `env` is how it behaves; its id (sha256:…)."""
        settings = {"APP_VERSION": tag.rpartition(":")[2], **env}
        lines = [
            "FROM scratch",
            "COPY app /app",
            *(f"ENV {name}={value}" for name, value in settings.items()),
        ]
        if health:
            lines.append('HEALTHCHECK --interval=1s --timeout=2s --retries=2 CMD ["/app", "health"]')
        lines.append('ENTRYPOINT ["/app"]')
        context = io.BytesIO()
        with tarfile.open(fileobj=context, mode="w") as tar:
            tar.add(application(), "app")
            entry = tarfile.TarInfo("Dockerfile")
            content = "\n".join(lines).encode()
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        context.seek(0)
        said = list(self.api.build(fileobj=context, custom_context=True, tag=tag, rm=True, decode=True))
        assert not any("error" in line for line in said), said
        return str(self.api.inspect_image(tag)["Id"])

    def containers(self, **filters: Any) -> list[dict[str, Any]]:
        """All of them, running or not, as the engine lists them."""
        return list(self.api.containers(all=True, filters=filters))

    def remove_all(self) -> None:
        """Every container, now."""
        for container in self.containers():
            self.api.remove_container(container["Id"], force=True, v=True)

    def suspend(self) -> None:
        """SIGSTOP: an engine that takes connections and answers nothing."""
        os.kill(self._process.pid, signal.SIGSTOP)
        # It has stopped once one of its threads has seen the signal: the others answer until then.
        wait_until(lambda: set(_thread_states(self._process.pid)) == {"T"})

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL: its containers run on, with nobody who knows of them."""
        self._process.kill()
        self._process.wait()
        # Its containerd dies with it. While anybody has to reap that, the next dockerd would take it for alive.
        written = self.folder / "exec" / "containerd" / "containerd.pid"
        pid = int(written.read_text())
        wait_until(lambda: not is_running(pid))
        written.unlink()

    def stop(self) -> None:
        """End the engine; its containers too."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        _run("ip", "link", "delete", self.bridge)
        _run(
            "umount", str(self.folder / "data")
        )  # one that was killed left its mount to the next, which leaves it

    def _pool(self) -> str:
        return f"10.{200 + os.getpid() % 50}.0.0/16"

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self.folder / "dockerd.log").read_text()[-3000:]
        try:
            return bool(self.api.ping())
        except (docker.errors.DockerException, OSError):
            return False


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Engines that start at the same moment make the same chains of iptables, and one of them gives up."""
    with (Path(tempfile.gettempdir()) / "hoist-tests-dockerd.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _dockerd() -> Path | None:
    # Debian's own first: one that was put beside it by hand may want another containerd.
    found = shutil.which("dockerd", path=f"/usr/sbin:{os.environ.get('PATH', '')}")
    return Path(found) if found else None


def _run(*command: str) -> None:
    subprocess.run(command, capture_output=True, check=False)


def application() -> Path:
    """The compiled application, once for each version of its source."""
    source = HERE / "images" / "app.c"
    target = Path(tempfile.gettempdir()) / f"hoist-test-app-{os.getuid()}-{int(source.stat().st_mtime)}"
    if not target.exists():
        partial = target.with_name(f"{target.name}.{os.getpid()}")
        subprocess.run(["gcc", "-O2", "-static", "-o", partial, source], check=True)
        partial.replace(target)
    return target


def _thread_states(pid: int) -> Iterator[str]:
    """A letter for each of its threads, as `ps` has them: proc(5), stat."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            yield (thread / "stat").read_text().rpartition(")")[2].split()[0]


@pytest.fixture(scope="session")
def session_docker_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerEngine]:
    """The session's engine."""
    if _dockerd() is None or os.geteuid() != 0:
        reason = f"there is no Docker engine to start: {GET_ONE}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="hoist-docker-"))  # short: a socket's path has 107 characters
    engine = DockerEngine(folder)
    try:
        try:
            engine.start()
        except Exception:
            said = (folder / "dockerd.log").read_text(errors="replace")[-500:] if folder.exists() else ""
            reason = f"no Docker engine can run here ({said.strip()}): {GET_ONE}"
            if os.environ.get("CI"):
                raise
            pytest.skip(reason)
        yield engine
        engine.remove_all()
    finally:
        engine.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def docker_engine(session_docker_engine: DockerEngine) -> Iterator[DockerEngine]:
    """A real engine without containers; the images that other tests built are there."""
    session_docker_engine.remove_all()
    yield session_docker_engine
    session_docker_engine.remove_all()
