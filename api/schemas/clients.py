"""Clients and targets, on the wire."""

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from agent.wire.base import Answer, ClientId, Labels, Request, Text, UtcDatetime
from api.schemas.base import Name, Resource, unset
from api.settings import is_loopback

_HOST = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,252})$|^[0-9A-Fa-f:.]{2,45}$")
_PATH = re.compile(r"^[A-Za-z0-9._~/-]*$")


def _agent_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("must be an http or https URL") from None
    if parts.scheme not in ("http", "https") or not _HOST.match(host) or port == 0:
        raise ValueError("must be an http or https URL with a host")
    if parts.username is not None or parts.query or parts.fragment or "?" in value or "#" in value:
        raise ValueError("must not carry a user name, a query or a fragment")
    if not _PATH.match(parts.path) or ".." in parts.path.split("/") or re.search(r"[\s\\]", value):
        raise ValueError("must not have a path with other characters than A-Z a-z 0-9 . _ ~ - /")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("must be https, unless the host is this machine (loopback)")
    return value.rstrip("/")


def _header_value(value: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]+", value):
        raise ValueError("must be printable ASCII without spaces: it travels in a header")
    return value


AgentUrl = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_agent_url)]
AgentToken = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_header_value)]


class Hold(Request):
    """A held client is passed over, until `until` or until `held` is null again."""

    reason: Annotated[Text, Field(min_length=1, max_length=500)]
    until: UtcDatetime | None = None


class ClientCreate(Request):
    """A host that runs the agent. `token` is what its agent wants from callers: kept encrypted, never returned."""

    client_id: ClientId = Field(examples=["web-07"])
    url: AgentUrl = Field(
        description="Where its agent answers.", examples=["https://web-07.example.com:4220"]
    )
    labels: Labels = Field(default_factory=dict)
    token: AgentToken | None = None


class ClientChange(Request):
    """What is sent is changed. A changed `url` needs the `token` again, so that it is never sent elsewhere unasked."""

    url: AgentUrl = Field(default_factory=unset)
    labels: Labels = Field(default_factory=unset)
    token: AgentToken | None = None
    held: Hold | None = None


class HoldAnswer(Answer):
    """Why a client is passed over."""

    reason: str
    until: UtcDatetime | None


class ClientAnswer(Resource):
    """A client. `id` is its `client_id`; `has_token` says whether a token for its agent is kept.

    `online` null: it was never asked, nor heard of; `online_since`: since when it is or is not; `heard_at`: when last.
    """

    client_id: str
    url: str
    labels: dict[str, str]
    has_token: bool
    held: HoldAnswer | None
    online: bool | None
    online_since: UtcDatetime | None
    heard_at: UtcDatetime | None


class ClientCreated(ClientAnswer):
    """A new client, and the token that its agent reports with: shown once, kept as SHA-256."""

    report_token: str


class RotateRequest(Request):
    """How long the report token before stays good, in seconds."""

    overlap_s: Annotated[int, Field(strict=True, ge=0, le=30 * 86_400)] = 3600


class RotateAnswer(Answer):
    """The new report token: shown once."""

    client_id: str
    report_token: str
    old_token_good_until: UtcDatetime | None


class TargetCreate(Request):
    """A client in an environment; in at most one of a project's environments."""

    client_id: ClientId = Field(examples=["web-07"])
    name: Name = Field(examples=["web-07"])
    type: Literal["host", "k8s-cluster"] | None = Field(
        None, description="`k8s-cluster` in a Kubernetes project, `host` in any other: it need not be said."
    )
    labels: Labels = Field(default_factory=dict)
    priority: Annotated[int, Field(strict=True, ge=-1000, le=1000)] = Field(
        0, description="Higher goes earlier."
    )


class TargetAnswer(Resource):
    """A target."""

    project_id: str
    environment_id: str
    client_id: str
    name: str
    type: str
    labels: dict[str, str]
    priority: int
