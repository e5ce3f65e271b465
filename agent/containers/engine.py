"""The host's Docker engine, opened on first use: the agent at rest does not pay for the SDK."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from agent.containers.errors import EngineUnavailable

if TYPE_CHECKING:
    from docker import APIClient

DEFAULT_HOST = "unix:///var/run/docker.sock"
QUERY_TIMEOUT_S = 5.0
VERSION_TIMEOUT_S = 2.0
VERSION_KEPT_S = 60.0


class Engine:
    """Safe for threads: each gets a client of its own, for a client is one HTTP session.

    `docker_host` is what DOCKER_HOST would be: unix:///path or tcp://host:port.
    """

    def __init__(self, docker_host: str | None = None) -> None:
        self.host = docker_host or DEFAULT_HOST
        self._api_version: str | None = None
        self._local = threading.local()
        self._version: tuple[float, str | None] | None = None

    @property
    def socket(self) -> Path | None:
        """The engine's socket on this host, or None where it is reached over the network."""
        return Path(self.host.removeprefix("unix://")) if self.host.startswith("unix://") else None

    @contextmanager
    def api(self, timeout_s: float = QUERY_TIMEOUT_S) -> Iterator["APIClient"]:
        """A client whose every call ends within `timeout_s` seconds of silence.

        Raises EngineUnavailable, from here or from what is called inside, where the engine doesn't answer; what it
        answers itself (docker.errors.APIError) goes through.
        """
        if self.socket is not None and not self.socket.exists():
            raise EngineUnavailable(f"there is no {self.socket}")
        import docker.errors
        import requests.exceptions

        try:
            yield self._client(timeout_s)
        except docker.errors.APIError:
            raise
        except (requests.exceptions.RequestException, docker.errors.DockerException) as error:
            self._api_version = None
            self._local.__dict__.clear()
            raise EngineUnavailable(_why(error)) from error

    def version(self) -> str | None:
        """The engine's version; None where there is none that answers soon. Asked once a minute."""
        if self.socket is not None and not self.socket.exists():
            return None
        now = time.monotonic()
        if self._version is None or now - self._version[0] > VERSION_KEPT_S:
            self._version = (now, self._ask_version())
        return self._version[1]

    def _ask_version(self) -> str | None:
        try:
            with self.api(VERSION_TIMEOUT_S) as api:
                return str(api.version()["Version"])[:100]
        except EngineUnavailable:
            return None

    def _client(self, timeout_s: float) -> "APIClient":
        import docker

        clients: dict[float, APIClient] = self._local.__dict__.setdefault("clients", {})
        if timeout_s not in clients:
            client = docker.APIClient(
                base_url=self.host, version=self._api_version or "auto", timeout=timeout_s
            )
            self._api_version = client.api_version
            clients[timeout_s] = client
        return clients[timeout_s]


def _why(error: Exception) -> str:
    text = str(error)
    for sign, why in (
        ("timed out", "it does not answer in time"),
        ("Timeout", "it does not answer in time"),
        ("PermissionError", "the agent may not use its socket"),
        ("Connection refused", "nothing listens there"),
        ("ConnectionRefusedError", "nothing listens there"),
        ("FileNotFoundError", "its socket is gone"),
    ):
        if sign in text:
            return why
    return f"{type(error).__name__}: {text}"[:300]
