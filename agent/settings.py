"""The agent's settings: HOIST_AGENT_* from the environment, and the state directory and token they name."""

import contextlib
import ipaddress
import os
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import SplitResult, urlsplit

from agent.disk import sync_directory
from agent.errors import SettingsError

PREFIX = "HOIST_AGENT_"
TOKEN_FILE = "token"  # noqa: S105 (a file's name)
_SENDABLE = re.compile(r"[\x21-\x7e]+")
_CLIENT_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """What `python -m agent` runs with. `api_url` None: only answers, reports nothing."""

    client_id: str
    state_dir: Path
    token: str = field(repr=False)
    host: str = "127.0.0.1"
    port: int = 4220
    api_url: str | None = None
    api_token: str | None = field(default=None, repr=False)
    api_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    tls_client_name: str = "hoist-control"
    insecure_http: bool = False
    docker_host: str | None = None
    """The container engine (HOIST_AGENT_DOCKER_HOST, else DOCKER_HOST): unix:///path or tcp://host:port."""
    kubeconfig: Path | None = None
    """The cluster that this agent has access to (HOIST_AGENT_KUBECONFIG); None: the one that it runs in, where it does."""
    allowed_hosts: tuple[str, ...] = ()
    """Names, beside its own, under which this agent is reached (HOIST_AGENT_ALLOWED_HOSTS, comma separated)."""
    min_free_bytes: int = 64 * 1024 * 1024
    """With less room than this in the state directory nothing is started (507): output may need 16 MiB."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings, make the state directory (0700) and, where no token is set, the token file (0600).

        Raises SettingsError where they contradict each other or would leave the agent open to the network.
        """
        read = _Reader(environ)
        state_dir = read.path("STATE_DIR") or _default_state_dir(environ)
        make_private_directory(state_dir)
        settings = cls(
            client_id=read.text("CLIENT_ID") or _default_client_id(),
            state_dir=state_dir,
            token=read.secret("TOKEN") or _token_from(state_dir / TOKEN_FILE),
            host=read.text("HOST") or "127.0.0.1",
            port=read.number("PORT", 4220),
            api_url=read.text("API_URL"),
            api_token=read.secret("API_TOKEN"),
            api_ca=read.path("API_CA"),
            tls_cert=read.path("TLS_CERT"),
            tls_key=read.path("TLS_KEY"),
            tls_client_ca=read.path("TLS_CLIENT_CA"),
            tls_client_name=read.text("TLS_CLIENT_NAME") or "hoist-control",
            insecure_http=read.text("INSECURE_HTTP") == "1",
            docker_host=_docker_host(read.text("DOCKER_HOST")) or environ.get("DOCKER_HOST") or None,
            kubeconfig=read.path("KUBECONFIG"),
            allowed_hosts=tuple(filter(None, (read.text("ALLOWED_HOSTS") or "").replace(" ", "").split(","))),
            min_free_bytes=read.number("MIN_FREE_BYTES", 64 * 1024 * 1024),
        )
        _check(settings)
        return settings

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the agent."""
        return is_loopback(self.host)


class _Reader:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, name: str) -> str | None:
        return self._environ.get(PREFIX + name) or None

    def secret(self, name: str) -> str | None:
        """A token: what a header can carry, never shown. A newline that a file left at its end is no part of it."""
        value = (self.text(name) or "").rstrip("\r\n")
        if value and _SENDABLE.fullmatch(value) is None:
            raise SettingsError(
                f"cannot use {PREFIX}{name}: it has a blank, or a character that is not printable ASCII"
            )
        return value or None

    def path(self, name: str) -> Path | None:
        value = self.text(name)
        return Path(value).expanduser().absolute() if value else None

    def number(self, name: str, default: int) -> int:
        value = self.text(name)
        if value is None:
            return default
        if not (value.isascii() and value.isdigit()):
            raise SettingsError(f"cannot use {PREFIX}{name}: it is not a whole number")
        return int(value)


def is_loopback(host: str) -> bool:
    """Whether `host` is a name or address of this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def make_private_directory(path: Path) -> None:
    """Make `path` (and what is above it) and see to it that only its owner may enter."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise SettingsError(f"cannot make the state directory {path}: {error.strerror}") from error


def _default_state_dir(environ: Mapping[str, str]) -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/hoist-agent")
    return Path(environ.get("HOME") or Path.home()) / ".hoist" / "agent"


def _default_client_id() -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:63].lstrip("._-") or "host"


def _token_from(path: Path) -> str:
    try:
        if not path.exists():
            _make_token(path)
        token = path.read_text(errors="replace").strip()
    except OSError as error:
        raise SettingsError(f"cannot use the token in {path}: {error.strerror}") from error
    if not token:
        raise SettingsError(f"cannot use the token in {path}: the file is empty")
    if _SENDABLE.fullmatch(token) is None:
        raise SettingsError(
            f"cannot use the token in {path}: it has a blank, or a character that is not printable ASCII"
        )
    return token


def _make_token(path: Path) -> None:
    """Whole or not at all, also over a crash; where another agent was faster, its token stands."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(scratch, path)
    finally:
        scratch.unlink()
    sync_directory(path.parent)


def _docker_host(value: str | None) -> str | None:
    """DOCKER_HOST is somebody else's setting: what can't be used there stops no agent that deploys scripts alone."""
    if value and not value.startswith(("unix:///", "tcp://")):
        raise SettingsError(f"cannot use {PREFIX}DOCKER_HOST: it begins with unix:/// or tcp://")
    return value


def _check_api_url(url: str, *, insecure_http: bool) -> None:
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"cannot use {PREFIX}API_URL: it is no http or https URL with a host")
    if parts.username is not None or parts.query or parts.fragment:
        raise SettingsError(f"cannot use {PREFIX}API_URL: it has credentials, a query or a fragment")
    if parts.scheme == "http" and not is_loopback(parts.hostname) and not insecure_http:
        raise SettingsError(
            f"cannot report to {parts.hostname} without TLS: {PREFIX}API_URL must begin with https "
            f"({PREFIX}INSECURE_HTTP=1 overrides this: reports and the token then travel in the clear)"
        )


def _split(url: str) -> SplitResult | None:
    if _SENDABLE.fullmatch(url) is None:
        return None
    try:
        parts = urlsplit(url)
        return None if parts.port == 0 else parts
    except ValueError:
        return None


def _check(settings: AgentSettings) -> None:
    if not _CLIENT_ID.match(settings.client_id):
        raise SettingsError(f"cannot use {PREFIX}CLIENT_ID: letters, digits and ._- only, at most 63")
    if len(settings.token) < 16:
        raise SettingsError(f"cannot use {PREFIX}TOKEN: at least 16 characters")
    if settings.api_url is not None:
        _check_api_url(settings.api_url, insecure_http=settings.insecure_http)
    if settings.port > 65_535:
        raise SettingsError(f"cannot use {PREFIX}PORT: at most 65535")
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise SettingsError(f"cannot use TLS: {PREFIX}TLS_CERT and {PREFIX}TLS_KEY go together")
    if settings.tls_cert and not settings.tls_client_ca and not settings.loopback:
        raise SettingsError(
            f"cannot use TLS beyond loopback: {PREFIX}TLS_CLIENT_CA, which callers are checked by, is missing"
        )
    if not settings.loopback and not settings.tls_cert and not settings.insecure_http:
        raise SettingsError(
            f"cannot listen on {settings.host} without TLS: set {PREFIX}TLS_CERT, {PREFIX}TLS_KEY and {PREFIX}TLS_CLIENT_CA "
            f"({PREFIX}INSECURE_HTTP=1 overrides this: commands and tokens then travel in the clear)"
        )
