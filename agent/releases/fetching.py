"""One HTTP GET of the application, without redirects, proxies or more than 1 MiB."""

import asyncio
from dataclasses import dataclass

import httpx

from agent.releases.errors import CannotAsk

BODY_LIMIT_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Fetched:
    """The status, and the first 1 MiB of the body."""

    status: int
    body: str


async def fetch(url: str, timeout_s: float) -> Fetched:
    """GET `url`; raises CannotAsk when nothing answers within `timeout_s` seconds."""
    try:
        async with (
            asyncio.timeout(timeout_s),
            _client(url, timeout_s) as client,
            client.stream("GET", url) as response,
        ):
            return Fetched(response.status_code, await _body(response))
    except TimeoutError:
        raise CannotAsk(f"no answer within {timeout_s:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise CannotAsk(f"{type(error).__name__}: {error}"[:300]) from error


def _client(url: str, timeout_s: float) -> httpx.AsyncClient:
    # Loading the CA bundle takes longer than the request, so only https does.
    return httpx.AsyncClient(
        verify=url.startswith("https:"),
        headers={"Accept-Encoding": "identity"},
        trust_env=False,
        follow_redirects=False,
        timeout=timeout_s,
    )


async def _body(response: httpx.Response) -> str:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part[: BODY_LIMIT_BYTES - len(body)]
        if len(body) >= BODY_LIMIT_BYTES:
            break
    return bytes(body).decode("utf-8", "replace")
