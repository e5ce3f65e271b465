"""What a handler knows of its call: who, when, the parts it may use, and the idempotency key."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Header
from starlette.datastructures import URL
from starlette.requests import Request

from api.auth import Principal
from api.parts import Parts
from db.models import utc_now
from db.secrets import SecretBox
from db.session import Database


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the API."""

    principal: Principal
    parts: Parts
    now: datetime
    url: URL
    key: str | None = None
    request_sha256: str = ""

    @property
    def who(self) -> str:
        """The name for the audit trail: the token's."""
        return self.principal.name

    @property
    def database(self) -> Database:
        """The database."""
        return self.parts.database

    @property
    def box(self) -> SecretBox:
        """What encrypts secrets at rest."""
        return self.parts.box


IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="Any unique text: the same request with the same key is done once, and answered the same, for a day.",
    ),
]


async def get_call(request: Request) -> Call:
    """The call, for handlers that need no idempotency key."""
    return Call(request.state.principal, request.app.state.parts, utc_now(), request.url)


async def get_change(request: Request, key: IdempotencyKey = None) -> Call:
    """The call of a POST."""
    body: bytes = request.state.body
    place = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    digest = hashlib.sha256(place + body).hexdigest()
    return Call(request.state.principal, request.app.state.parts, utc_now(), request.url, key, digest)


Asked = Annotated[Call, Depends(get_call)]
Posted = Annotated[Call, Depends(get_change)]
Answers = dict[int | str, dict[str, Any]]
