"""Where the release API is and who asks: HOIST_API_URL, HOIST_API_TOKEN, HOIST_API_TOKEN_FILE, HOIST_API_CA."""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from api.cli.errors import WrongUsage

PREFIX = "HOIST_API_"
DEFAULT_URL = "http://127.0.0.1:4210"
_HEADER_VALUE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Settings:
    """What every command needs. `token_source` says, without the token, where it was found."""

    url: str
    token: str = field(repr=False)
    token_source: str
    ca: Path | None = None
    """Whom to trust beside nobody else; None: the machine's own authorities."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read and check them. Raises WrongUsage, which never echoes a value."""
        url = _url(environ)
        token, source = _token(environ)
        if not _HEADER_VALUE.fullmatch(token):
            raise WrongUsage(
                f"cannot use the token of {source}: it is empty, or has spaces or other than ASCII"
            )
        ca = environ.get(f"{PREFIX}CA")
        return cls(url, token, source, Path(ca).expanduser() if ca else None)


def _url(environ: Mapping[str, str]) -> str:
    value = environ.get(f"{PREFIX}URL") or DEFAULT_URL
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or parts.username is not None:
        raise WrongUsage(f"cannot use {PREFIX}URL: it is not an http or https URL without a user name")
    if parts.query or parts.fragment:
        raise WrongUsage(f"cannot use {PREFIX}URL: it must not have a query or a fragment")
    insecure = environ.get(f"{PREFIX}INSECURE_HTTP") == "1"
    if parts.scheme == "http" and not _is_loopback(host) and not insecure:
        raise WrongUsage(
            f"cannot use {PREFIX}URL: beyond this machine it must be https "
            f"({PREFIX}INSECURE_HTTP=1 overrides this: the token then travels in the clear)"
        )
    return value.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _token(environ: Mapping[str, str]) -> tuple[str, str]:
    """The token and where it was found."""
    token, file = environ.get(f"{PREFIX}TOKEN"), environ.get(f"{PREFIX}TOKEN_FILE")
    if token and file:
        raise WrongUsage(f"cannot choose between {PREFIX}TOKEN and {PREFIX}TOKEN_FILE: set one of them")
    if token:
        return token.strip(), f"{PREFIX}TOKEN"
    home = environ.get("HOME")
    path = (
        Path(file).expanduser()
        if file
        else (Path(home) if home else Path.home()) / ".hoist" / "operator.token"
    )
    try:
        return path.read_text().strip(), str(path)
    except FileNotFoundError:
        raise WrongUsage(
            f"cannot find a token: {path} is not there; the release API makes one in ~/.hoist/operator.token of its host"
            f" when it starts without any: copy that file, or set {PREFIX}TOKEN_FILE or {PREFIX}TOKEN"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUsage(f"cannot read the token in {path}: {type(error).__name__}") from error
