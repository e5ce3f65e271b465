"""What every request passes before anything reads it: the Host header, the token, the role, the body's size."""

import ipaddress
import socket
from collections.abc import Callable, Mapping
from functools import lru_cache, partial

from anyio import to_thread
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import REPORT_PATHS, Authenticator, Principal, may
from api.errors import CHALLENGE, WRONG_CREDENTIALS
from api.patience import Patience
from api.problems import problem_response
from api.settings import ApiSettings
from db.errors import DatabaseError
from db.secrets import sha256_hex

MAX_BODY_BYTES = 1024 * 1024
MAX_REPORT_BYTES = 8 * 1024 * 1024
MAX_DRAINED_BYTES = 32 * 1024 * 1024
BODY_TIMEOUT_S = 60.0
PUBLIC_PATHS = frozenset({"/", "/docs", "/healthz", "/readyz", "/openapi.json"})
_Headers = Mapping[bytes, bytes]


class Guard:
    """An ASGI layer around the application: it adds `principal`, `headers` and `body` to the scope's state."""

    def __init__(
        self,
        app: ASGIApp,
        settings: ApiSettings,
        authenticator: Authenticator,
        count: Callable[[str, str, int], None],
    ) -> None:
        self.app = app
        self._authenticator = authenticator
        self._names = _own_names(settings)
        self._count = count
        self._patience = Patience(BODY_TIMEOUT_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with what is wrong."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        send = self._counted(scope["method"], scope["path"], send)
        headers = dict(reversed(scope["headers"]))  # the first of several counts
        refusal = await self._refusal(scope, headers)
        if refusal is None:
            try:
                body = await self._read_body(scope, headers, receive)
            except ClientDisconnect:
                return  # half a body is no request, and nobody waits for an answer
            if isinstance(body, bytes):
                scope["state"]["body"] = body
                await self.app(scope, _replay(body, receive), send)
                return
            refusal = body
        await refusal(scope, receive, send)

    def _counted(self, method: str, path: str, send: Send) -> Send:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._count(method, path, message["status"])
            await send(message)

        return counted

    async def _refusal(self, scope: Scope, headers: _Headers) -> Response | None:
        if not self._host_is_ours(headers.get(b"host", b"").decode("latin-1")):
            return problem_response(421, "cannot answer for that Host: see HOIST_API_ALLOWED_HOSTS")
        if "\x00" in scope["path"] or b"%00" in scope.get("query_string", b""):
            return problem_response(422, "cannot accept the address: it must not contain a NUL character")
        scope.setdefault("state", {})["headers"] = headers
        if scope["path"] in PUBLIC_PATHS:
            return None
        return await self._authorize(scope, headers)

    async def _authorize(self, scope: Scope, headers: _Headers) -> Response | None:
        try:
            reports = scope["method"] == "POST" and scope["path"] in REPORT_PATHS
            token = headers.get(b"authorization", b"").decode("latin-1")
            principal = await self._principal(token, reports=reports)
        except DatabaseError:
            return problem_response(
                503, "cannot check the token: the database can't be reached", part="database"
            )
        if principal is None:
            return problem_response(401, WRONG_CREDENTIALS, headers=CHALLENGE)
        if not may(principal, scope["method"], scope["path"]):
            return problem_response(403, f"cannot do that with {principal.role} token {principal.name}")
        scope["state"]["principal"] = principal
        return None

    async def _principal(self, header: str, *, reports: bool) -> Principal | None:
        scheme, _, token = header.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > 4096:
            return None
        digest = sha256_hex(token)
        known = self._authenticator.named(digest) or (
            self._authenticator.remembered(digest) if reports else None
        )
        return known or await to_thread.run_sync(partial(self._authenticator.agent, digest))

    async def _read_body(self, scope: Scope, headers: _Headers, receive: Receive) -> bytes | Response:
        limit = MAX_REPORT_BYTES if scope["path"] in REPORT_PATHS else MAX_BODY_BYTES
        length = headers.get(b"content-length", b"0")
        announced = int(length) if length.isdigit() and len(length) < 19 else MAX_DRAINED_BYTES + 1
        if announced > limit and (b"expect" in headers or announced > MAX_DRAINED_BYTES):
            return _too_large(limit)
        try:
            body = await self._patience.wait_for(_collect(receive, limit))
        except TimeoutError:
            return problem_response(
                408, "cannot read the body: it took too long", headers={"Connection": "close"}
            )
        if body is None:
            return _too_large(limit)
        if body and headers.get(b"content-type") != b"application/json":
            # Callers that forget to say so send JSON too: there is nothing else that a body could be.
            MutableHeaders(scope=scope)["content-type"] = "application/json"
        return body

    def _host_is_ours(self, host: str) -> bool:
        name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
        return name.lower() in self._names or _is_address(name)


def _own_names(settings: ApiSettings) -> frozenset[str]:
    names = {"localhost", socket.gethostname(), socket.getfqdn(), settings.host, *settings.allowed_hosts}
    return frozenset(name.lower() for name in names)


@lru_cache(maxsize=64)
def _is_address(name: str) -> bool:
    # An address can't be rebound by somebody's DNS, which is what the check is for.
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def _collect(receive: Receive, limit: int) -> bytes | None:
    """The body; None for too large a one, which is read on for a while, so that the caller gets to see the answer.

    Raises ClientDisconnect.
    """
    body, seen = bytearray(), 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        seen += len(chunk)
        if seen > MAX_DRAINED_BYTES or (seen > limit and not more):
            return None
        if not (body or more):
            return chunk  # in one piece, as most are
        if seen <= limit:
            body += chunk
        if not more:
            return bytes(body)


def _too_large(limit: int) -> Response:
    return problem_response(
        413, f"cannot accept the body: more than {limit} bytes", headers={"Connection": "close"}
    )


def _replay(body: bytes, receive: Receive) -> Receive:
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
