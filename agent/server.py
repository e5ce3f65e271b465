"""Serving the agent: uvicorn, with callers checked by their certificate's name."""

import asyncio
import logging
import os
import ssl
import threading
from types import FrameType

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from agent.problems import problem_response
from agent.settings import AgentSettings
from agent.tls import names_in, server_context
from agent.wire.problems import Problem

STOP_S = 3
"""How long open requests (long polls) may go on after SIGTERM; the parts then have some seconds of their own."""

LOOK_S, TICKS_A_LOOK = 0.5, 5
"""How often it looks whether it should end; uvicorn's own tick, which its date header counts by, is a tenth of a second."""


LAST_S = 9.0
"""However long a thread waits for a command by then: each process ends within 10 s of SIGTERM. What was promised is on disk."""


class RestingServer(uvicorn.Server):
    """Wakes twice a second, not ten times: uvicorn's ticks are most of what an agent at rest costs its host."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Told to end."""
        if not self.should_exit:
            last = threading.Timer(LAST_S, os._exit, (0,))
            last.daemon = True
            last.start()
        super().handle_exit(sig, frame)

    async def main_loop(self) -> None:
        """Until it should end."""
        tick = 0
        while not await self.on_tick(tick):
            tick += TICKS_A_LOOK
            await asyncio.sleep(LOOK_S)


def server_of(app: ASGIApp, settings: AgentSettings) -> uvicorn.Server:
    """A server that has not begun; `await server.serve()` runs it until SIGTERM or SIGINT."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=H11Protocol if settings.tls_client_ca is None else _named_callers(settings.tls_client_name),
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=STOP_S,
        timeout_keep_alive=75,
        h11_max_incomplete_event_size=64 * 1024,
    )
    config.load()
    context = server_context(settings)
    if context is not None:
        config.ssl = context
    return RestingServer(config)


def _named_callers(name: str) -> type[H11Protocol]:
    class NamedCallers(H11Protocol):
        """Answers 403 to whoever shows a certificate of the right authority with another name."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
            super().connection_made(transport)
            tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
            if tls is None or name not in names_in(tls.getpeercert() or {}):
                self.app = _not_allowed

    return NamedCallers


async def _not_allowed(scope: Scope, receive: Receive, send: Send) -> None:
    detail = "cannot accept the request: the caller's certificate carries another name"
    await problem_response(Problem(status=403, title="Not allowed", detail=detail))(scope, receive, send)
