"""The release API's settings: HOIST_API_* from the environment, checked before anything listens."""

import ipaddress
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from api.errors import SettingsError

PREFIX = "HOIST_API_"
DEFAULT_PREFECT_URL = "http://127.0.0.1:4200/api"
MIN_TOKEN_LENGTH = 16
MAX_HISTORY_DAYS = 3650

_SENDABLE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What `python -m api` runs with. `prefect_url` None: Prefect's own settings decide."""

    host: str = "127.0.0.1"
    port: int = 4210
    tls_cert: Path | None = None
    tls_key: Path | None = None
    insecure_http: bool = False
    allowed_hosts: tuple[str, ...] = ()
    """Names, beside its own, under which this API is reached (HOIST_API_ALLOWED_HOSTS, comma separated)."""
    tokens_file: Path | None = None
    operator_token: str | None = field(default=None, repr=False)
    viewer_token: str | None = field(default=None, repr=False)
    prefect_url: str | None = None
    report_history_days: int = 30
    """How long reports are kept (HOIST_API_REPORT_HISTORY_DAYS); each client's newest always is."""
    prefect_auth: bool = False
    """Whether PREFECT_API_AUTH_STRING is set."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read and check them. Raises SettingsError."""

        def text(name: str) -> str | None:
            return environ.get(PREFIX + name) or None

        def secret(name: str) -> str | None:
            """A newline that a file left at its end is no part of it."""
            return (text(name) or "").rstrip("\r\n") or None

        def path(name: str) -> Path | None:
            value = text(name)
            return Path(value).expanduser().absolute() if value else None

        settings = cls(
            host=text("HOST") or "127.0.0.1",
            port=_port(text("PORT") or "4210"),
            tls_cert=path("TLS_CERT"),
            tls_key=path("TLS_KEY"),
            insecure_http=text("INSECURE_HTTP") == "1",
            allowed_hosts=tuple(filter(None, (text("ALLOWED_HOSTS") or "").replace(" ", "").split(","))),
            tokens_file=path("TOKENS_FILE"),
            operator_token=secret("OPERATOR_TOKEN"),
            viewer_token=secret("VIEWER_TOKEN"),
            report_history_days=_days(text("REPORT_HISTORY_DAYS") or "30"),
            prefect_url=environ.get("PREFECT_API_URL") or None,
            prefect_auth=bool(environ.get("PREFECT_API_AUTH_STRING")),
        )
        check_settings(settings)
        return settings

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the API."""
        return is_loopback(self.host)

    @property
    def url(self) -> str:
        """Where it listens, for people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls_cert else 'http'}://{host}:{self.port}"


def _port(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 5 and int(value) <= 65_535):
        raise SettingsError(f"cannot use {PREFIX}PORT: it is not a number from 0 to 65535")
    return int(value)


def _days(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 4 and 1 <= int(value) <= MAX_HISTORY_DAYS):
        raise SettingsError(
            f"cannot use {PREFIX}REPORT_HISTORY_DAYS: it is not a number from 1 to {MAX_HISTORY_DAYS}"
        )
    return int(value)


def is_loopback(host: str) -> bool:
    """Whether `host` is a name or address of this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_settings(settings: ApiSettings) -> None:
    """Raises SettingsError for what contradicts itself, or would send tokens in the clear over a network."""
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise SettingsError(f"cannot use TLS: {PREFIX}TLS_CERT and {PREFIX}TLS_KEY go together")
    for name, token in (("OPERATOR_TOKEN", settings.operator_token), ("VIEWER_TOKEN", settings.viewer_token)):
        if token is not None and len(token) < MIN_TOKEN_LENGTH:
            raise SettingsError(f"cannot use {PREFIX}{name}: at least {MIN_TOKEN_LENGTH} characters")
        if token is not None and _SENDABLE.fullmatch(token) is None:
            raise SettingsError(
                f"cannot use {PREFIX}{name}: it has a blank, or a character that is not printable ASCII"
            )
    if settings.operator_token and settings.operator_token == settings.viewer_token:
        raise SettingsError(f"cannot use {PREFIX}VIEWER_TOKEN: it is the operator's token")
    if not settings.loopback and not settings.tls_cert and not settings.insecure_http:
        raise SettingsError(
            f"cannot listen on {settings.host} without TLS: set {PREFIX}TLS_CERT and {PREFIX}TLS_KEY "
            f"({PREFIX}INSECURE_HTTP=1 overrides this: tokens then travel in the clear)"
        )
    if settings.prefect_url is not None:
        check_prefect_url(settings.prefect_url, authenticated=settings.prefect_auth)


def check_tls_files(settings: ApiSettings) -> None:
    """Raises SettingsError for a certificate or a key that can't be served with."""
    if settings.tls_cert is None or settings.tls_key is None:
        return
    names = {f"{PREFIX}TLS_CERT": settings.tls_cert, f"{PREFIX}TLS_KEY": settings.tls_key}
    for name, path in names.items():
        try:
            with path.open("rb"):
                pass
        except OSError as error:
            raise SettingsError(f"cannot use {name}: cannot read {path}: {error.strerror}") from error
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert, settings.tls_key)
    except OSError as error:
        raise SettingsError(f"cannot use {' and '.join(names)}: {error.strerror or error}") from error


def check_prefect_url(url: str, *, authenticated: bool) -> None:
    """Raises SettingsError for a Prefect server beyond loopback without https and a password."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError("cannot use PREFECT_API_URL: it is not an http or https URL")
    if is_loopback(parts.hostname):
        return
    if parts.scheme != "https" or not authenticated:
        raise SettingsError(
            f"cannot use the Prefect server at {parts.hostname}: beyond loopback it needs https and "
            "PREFECT_API_AUTH_STRING"
        )
