"""The shared HTTP client for many agents: a small pool of connections per agent, TLS with the caller's certificate."""

import os
import ssl
from collections.abc import Mapping

import httpx

from agent.errors import SettingsError
from agent.pem import loading

_PER_ORIGIN = 10
_KEEP_ALIVE_S = 60.0


class PerOriginTransport(httpx.AsyncBaseTransport):
    """One small pool per origin: httpcore's single pool walks all its connections at every request, so that a thousand
    agents cost a thousand times a thousand steps.
    """

    def __init__(self, max_connections: int, tls: ssl.SSLContext | None) -> None:
        self._per_origin = min(max_connections, _PER_ORIGIN)
        self._tls = tls or ssl.create_default_context()
        self._transports: dict[tuple[bytes, bytes, int | None], httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it through its origin's own pool."""
        origin = (request.url.raw_scheme, request.url.raw_host, request.url.port)
        transport = self._transports.get(origin)
        if transport is None:
            limits = httpx.Limits(
                max_connections=self._per_origin,
                max_keepalive_connections=self._per_origin,
                keepalive_expiry=_KEEP_ALIVE_S,
            )
            # retries: of connecting only, so nothing is ever sent twice.
            transport = httpx.AsyncHTTPTransport(verify=self._tls, limits=limits, trust_env=False, retries=0)
            self._transports[origin] = transport
        return await transport.handle_async_request(request)

    async def aclose(self) -> None:
        """Close every pool."""
        transports, self._transports = list(self._transports.values()), {}
        for transport in transports:
            await transport.aclose()


def agent_http_client(
    max_connections: int = 100,
    tls: ssl.SSLContext | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> httpx.AsyncClient:
    """The client to share between `AgentApi`s; close it when through. It follows no redirect: a token would go along.

    `max_connections`: at most that many (and 10) per agent. `tls` None: the machine's own authorities, no certificate.
    """
    chosen = transport or PerOriginTransport(max_connections, tls)
    return httpx.AsyncClient(transport=chosen, follow_redirects=False, trust_env=False)


def caller_tls(environ: Mapping[str, str] = os.environ) -> ssl.SSLContext | None:
    """The TLS context of a caller of agents from HOIST_TLS_CA, _CERT and _KEY; None where none of them is set.

    Raises SettingsError.
    """
    ca, cert, key = (environ.get(f"HOIST_TLS_{name}") or None for name in ("CA", "CERT", "KEY"))
    if not (ca or cert or key):
        return None
    if key and not cert:
        raise SettingsError("cannot use HOIST_TLS_KEY: HOIST_TLS_CERT is missing")
    with loading({"HOIST_TLS_CA": ca}):
        context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert is not None:
        with loading({"HOIST_TLS_CERT": cert, "HOIST_TLS_KEY": key}):
            context.load_cert_chain(cert, key)
    return context
