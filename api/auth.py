"""Who is calling: named tokens (operator, viewer) from the settings, and the agents' own report tokens."""

import hmac
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from api.errors import SettingsError
from api.settings import ApiSettings
from db.errors import PermanentDatabaseError
from db.models import utc_now
from db.private_files import read_or_create
from db.queries.clients import find_client_by_report_token
from db.secrets import new_token, sha256_hex
from db.session import Database
from db.settings import hoist_home

Role = Literal["operator", "viewer", "agent"]
log = logging.getLogger("api.auth")
MAX_REMEMBERED = 50_000
REPORT_PATHS = frozenset({"/release/process-report", "/release/container-report", "/release/pod-report"})
_TOKEN_LINE = re.compile(
    r"^(?P<name>[A-Za-z0-9._@-]{1,100})\s+(?P<role>operator|viewer)\s+(?P<sha256>[0-9a-fA-F]{64})$"
)


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose token was presented. `client_id` is set for an agent, and `token_sha256`: ingest looks at it once more."""

    name: str
    role: Role
    client_id: str | None = None
    token_sha256: str = ""


@dataclass(frozen=True, slots=True)
class NamedToken:
    """A token of the settings: its SHA-256, never itself."""

    principal: Principal
    sha256: str


def operator_token_file() -> Path:
    """`~/.hoist/operator.token`, which is made at the first start where no token is set."""
    return hoist_home() / "operator.token"


def named_tokens(settings: ApiSettings) -> tuple[NamedToken, ...]:
    """The tokens of the settings; where there are none, one is made, 0600. Raises SettingsError."""
    tokens: list[NamedToken] = []
    if settings.tokens_file is not None:
        tokens += read_tokens_file(settings.tokens_file)
    if settings.operator_token is not None:
        tokens.append(NamedToken(Principal("operator", "operator"), sha256_hex(settings.operator_token)))
    if settings.viewer_token is not None:
        tokens.append(NamedToken(Principal("viewer", "viewer"), sha256_hex(settings.viewer_token)))
    if not tokens:
        tokens.append(NamedToken(Principal("operator", "operator"), sha256_hex(_generated_token())))
    _check_unique(tokens)
    return tuple(tokens)


def _generated_token() -> str:
    path = operator_token_file()
    try:
        token = read_or_create(path, new_token())
    except PermanentDatabaseError as error:
        raise SettingsError(str(error)) from error
    if len(token) < 16:
        raise SettingsError(f"cannot use the token in {path}: at least 16 characters")
    log.info("the operator's token is in %s", path)
    return token


def read_tokens_file(path: Path) -> list[NamedToken]:
    """Lines `name role sha256`; blank ones and those after # are passed over. Raises SettingsError naming the line."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read the tokens in {path}: {type(error).__name__}") from error
    tokens = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _TOKEN_LINE.match(line.strip())
        if found is None:
            raise SettingsError(
                f"cannot use line {number} of {path}: it is not `name role sha256` with the role operator or viewer"
            )
        role: Role = "operator" if found["role"] == "operator" else "viewer"
        tokens.append(NamedToken(Principal(found["name"], role), found["sha256"].lower()))
    return tokens


def _check_unique(tokens: Iterable[NamedToken]) -> None:
    digests, names = [one.sha256 for one in tokens], [one.principal.name for one in tokens]
    if len(set(digests)) != len(digests):
        raise SettingsError("cannot use the tokens: two of them are the same")
    if len(set(names)) != len(names):
        raise SettingsError("cannot use the tokens: two of them have the same name")


class Authenticator:
    """Tells whose a token is."""

    def __init__(self, tokens: tuple[NamedToken, ...], database: Database) -> None:
        self._tokens = tokens
        self._database = database
        self._remembered: dict[str, Principal] = {}

    def named(self, digest: str) -> Principal | None:
        """The owner of the named token with this SHA-256; every token is compared, in constant time."""
        found = None
        for one in self._tokens:
            if hmac.compare_digest(one.sha256, digest):
                found = one.principal
        return found

    def agent(self, digest: str) -> Principal | None:
        """The client whose report token it is, the one before the last rotation included while it is good. Reads."""
        with self._database.read() as session:
            client = find_client_by_report_token(session, digest, utc_now())
        if client is None:
            return None
        kept = (client.report_token_sha256, client.old_report_token_sha256 or "")
        if not any(hmac.compare_digest(one, digest) for one in kept):
            return None
        principal = Principal(f"agent:{client.client_id}", "agent", client.client_id, digest)
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[digest] = principal
        return principal

    def remembered(self, digest: str) -> Principal | None:
        """Whose report token it was when it was seen last, for reports alone: whether it still is, the transaction that
        keeps the report asks the database, for a whole batch at once (api/ingest/fleet.py).
        """
        return self._remembered.get(digest)


def may(principal: Principal, method: str, path: str) -> bool:
    """Whether this role may do this at all: operators everything, viewers read, agents report."""
    if principal.role == "operator":
        return True
    if principal.role == "viewer":
        return method in ("GET", "HEAD")
    return method == "POST" and path in REPORT_PATHS
