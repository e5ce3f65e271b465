"""What every request passes before anything reads it: the Host header, the token, the body's size."""

import hmac
import ipaddress
import socket

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.problems import problem_response
from agent.settings import AgentSettings
from agent.tls import certificate_names
from agent.wire.problems import Problem

MAX_BODY_BYTES = 1024 * 1024


class Guard:
    """The outermost ASGI layer. `public` paths need no token."""

    def __init__(self, app: ASGIApp, settings: AgentSettings, public: frozenset[str]) -> None:
        self.app = app
        self._token = settings.token.encode()
        self._public = public
        self._names = _own_names(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with what is wrong."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        problem = self._refusal(scope["path"], headers)
        if problem is not None:
            challenge = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else None
            await problem_response(problem, challenge)(scope, receive, send)
            return
        try:
            body = await _read(receive)
        except ClientDisconnect:
            return  # half a body is no request, and nobody waits for an answer
        if body is None:
            await problem_response(_too_large())(scope, receive, send)
            return
        await self.app(scope, _replay(body, receive), send)

    def _refusal(self, path: str, headers: Headers) -> Problem | None:
        if not self._host_is_ours(headers.get("host", "")):
            return Problem(status=421, title="Misdirected request", detail="cannot answer for that Host")
        if path not in self._public and not self._authorized(headers.get("authorization", "")):
            return Problem(
                status=401, title="Unauthorized", detail="cannot accept the request: no or wrong credentials"
            )
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length[:20]) > MAX_BODY_BYTES:
            return _too_large()
        return None

    def _authorized(self, header: str) -> bool:
        scheme, _, token = header.partition(" ")
        given = token.strip().encode("utf-8", "surrogateescape")
        return hmac.compare_digest(given, self._token) and scheme.lower() == "bearer"

    def _host_is_ours(self, host: str) -> bool:
        name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
        return name.lower() in self._names or _is_address(name)


def _own_names(settings: AgentSettings) -> frozenset[str]:
    names = {"localhost", socket.gethostname(), socket.getfqdn(), settings.client_id, settings.host}
    names.update(settings.allowed_hosts)
    if settings.tls_cert is not None:
        names.update(certificate_names(settings.tls_cert))
    return frozenset(name.lower() for name in names)


def _is_address(name: str) -> bool:
    # An address can't be rebound by somebody's DNS, which is what the check is for.
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _too_large() -> Problem:
    detail = f"cannot accept the body: more than {MAX_BODY_BYTES} bytes"
    return Problem(status=413, title="Too large", detail=detail)


async def _read(receive: Receive) -> bytes | None:
    """The whole body; None for too large a one. Raises ClientDisconnect."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
