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
FAILURE_KEPT_S = 5.0
"""How long "it has no version" is believed: a dead engine slows no two answers in a row, and one that came back is soon seen."""

_SCHEMES = ("unix://", "tcp://", "http://", "https://")


class Engine:
    """Safe for threads: each gets a client of its own, for a client is one HTTP session.

    `docker_host` is what DOCKER_HOST would be: unix:///path or tcp://host:port.
    """

    def __init__(self, docker_host: str | None = None) -> None:
        self.host = docker_host or DEFAULT_HOST
        self._api_version: str | None = None
        self._generation = 0
        self._local = threading.local()
        self._version: tuple[float, str | None] = (0.0, None)

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
        self._check_place()
        import docker.errors
        import requests.exceptions
        import urllib3.exceptions

        unreachable = (
            *(requests.exceptions.RequestException, urllib3.exceptions.HTTPError),
            *(docker.errors.DockerException, ConnectionError, TimeoutError),
        )
        try:
            yield self._client(timeout_s)
        except docker.errors.APIError as error:
            if "client version" not in str(error):
                raise
            self._reopen()  # another release of the engine answers there now
            raise EngineUnavailable("it was exchanged for another release") from error
        except unreachable as error:
            self._reopen()
            raise EngineUnavailable(_why(error)) from error

    def version(self) -> str | None:
        """The engine's version; None where there is none that answers soon. Asked once a minute."""
        believed_until, text = self._version
        if time.monotonic() < believed_until:
            return text
        try:
            with self.api(VERSION_TIMEOUT_S) as api, errors_as_unavailable():
                return self.version_from(api)
        except EngineUnavailable:
            self._version = (time.monotonic() + FAILURE_KEPT_S, None)
            return None

    def version_from(self, api: "APIClient") -> str:
        """The engine's version by a client that it just answered. Raises what the client does."""
        believed_until, text = self._version
        if text is None or time.monotonic() >= believed_until:
            text = str(api.version().get("Version", "unknown"))[:100]
            self._version = (time.monotonic() + VERSION_KEPT_S, text)
        return text

    def _check_place(self) -> None:
        if not self.host.startswith(_SCHEMES):
            raise EngineUnavailable(f"{self.host.partition(':')[0]} is no way to it that the agent knows")
        try:
            there = self.socket is None or self.socket.exists()
        except OSError as error:
            raise EngineUnavailable(f"the agent may not look for {self.socket}: {error.strerror}") from error
        if not there:
            raise EngineUnavailable(f"there is no {self.socket}")

    def _reopen(self) -> None:
        """Every thread opens a client anew, and one of them asks which version the engine speaks."""
        self._api_version = None
        self._generation += 1

    def _client(self, timeout_s: float) -> "APIClient":
        import docker

        mine = self._local.__dict__
        if mine.get("generation") != self._generation:
            mine.update(generation=self._generation, clients={})
        clients: dict[float, APIClient] = mine["clients"]
        if timeout_s not in clients:
            client = docker.APIClient(
                base_url=self.host, version=self._api_version or "auto", timeout=timeout_s
            )
            self._api_version = client.api_version
            clients[timeout_s] = client
        return clients[timeout_s]


@contextmanager
def errors_as_unavailable() -> Iterator[None]:
    """For questions that a sound engine always answers: its refusal, too, means that it is of no use now."""
    import docker.errors

    try:
        yield
    except docker.errors.APIError as error:
        if "client version" in str(error):
            raise  # told apart by Engine.api
        raise EngineUnavailable(f"it answers with an error: {error.explanation or error}"[:300]) from error


def _why(error: Exception) -> str:
    text = str(error)
    for sign, why in (
        ("timed out", "it does not answer in time"),
        ("Timeout", "it does not answer in time"),
        ("BlockingIOError", "it does not answer in time"),  # a full queue at its socket
        ("PermissionError", "the agent may not use its socket"),
        ("Connection refused", "nothing listens there"),
        ("ConnectionRefusedError", "nothing listens there"),
        ("FileNotFoundError", "its socket is gone"),
        ("RemoteDisconnected", "it hung up"),
        ("ConnectionResetError", "it hung up"),
        ("NameResolutionError", "its host name is unknown"),
    ):
        if sign in text:
            return why
    return f"{type(error).__name__}: {text}"[:300]
