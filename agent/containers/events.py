"""Docker's event stream: what happens to a container is known at once, and costs nothing while nothing happens.

GET /events of the Engine API, by the HTTP client that the agent has anyway: the SDK would need a thread, and is not loaded.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Never

import httpx

from agent.monitors.schedule import backoff_s

WATCHED = ("die", "start", "restart", "health_status", "destroy", "oom")
"""The engine filters: a health check's own commands are events, too, every few seconds."""
_QUERY = {"filters": json.dumps({"type": ["container"], "event": WATCHED})}
_CONNECT_WITHIN_S = 5.0
_SILENCE_S = 300.0
"""A connection over the network that said nothing for so long may be dead: it is opened anew."""
_LONGEST_BACKOFF_S = 15.0


class EngineEvents:
    """Calls `on_change` at each event, and whenever the engine came back or went away: something may have been missed."""

    def __init__(self, host: str, on_change: Callable[[], None]) -> None:
        """`host` is what DOCKER_HOST would be."""
        self._host = host
        self._on_change = on_change

    async def run(self) -> Never:
        """Listen, over the engine's restarts, until cancelled."""
        failures = 0
        while True:
            failures = 0 if await self._listen() else failures + 1
            await asyncio.sleep(min(_LONGEST_BACKOFF_S, backoff_s(failures)))

    async def _listen(self) -> bool:
        """Until the connection ends; whether there was one."""
        connected = False
        try:
            async with self._client() as client, client.stream("GET", "/events", params=_QUERY) as response:
                response.raise_for_status()
                connected = True
                self._on_change()
                async for _ in response.aiter_raw():
                    self._on_change()
        except (httpx.HTTPError, httpx.InvalidURL, OSError):
            pass  # the next report says what is wrong with the engine
        if connected:
            self._on_change()
        return connected

    def _client(self) -> httpx.AsyncClient:
        scheme, _, place = self._host.partition("://")
        local = scheme == "unix"
        timeout = httpx.Timeout(_CONNECT_WITHIN_S, read=None if local else _SILENCE_S)
        if local:
            transport = httpx.AsyncHTTPTransport(uds=place, verify=False)
            return httpx.AsyncClient(
                transport=transport, base_url="http://docker", timeout=timeout, trust_env=False
            )
        secure = scheme == "https"
        url = f"{'https' if secure else 'http'}://{place}"
        return httpx.AsyncClient(base_url=url, timeout=timeout, verify=secure, trust_env=False)
