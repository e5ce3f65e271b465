"""Asking every client of a plan whether it is ready; nothing is changed there."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from prefect import task
from prefect.cache_policies import NO_CACHE

from agent.client import AgentApi
from agent.errors import AgentError
from tasks.decisions.preflight import Need, Readiness, judge_readiness

AT_ONCE = 25
ASK_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A client to be asked, and what is needed of it. `url` None: it is not registered any more."""

    url: str | None
    token: str | None = field(repr=False)
    need: Need


@task(
    name="preflight", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False, timeout_seconds=300
)
async def ask_readiness(name: str, asked: Sequence[Any], http: Any) -> dict[str, Readiness]:  # noqa: ARG001 (the task run's)
    """By client id."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def ask(one: Asked) -> tuple[str, Readiness]:
        async with gate:
            return one.need.client_id, await _ask(one, http)

    return dict(await asyncio.gather(*(ask(one) for one in asked)))


async def _ask(one: Asked, http: httpx.AsyncClient) -> Readiness:
    if one.url is None:
        return judge_readiness(one.need, None, "it is not registered any more")
    api = AgentApi(http, one.url, one.token or "", client_id=one.need.client_id)
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S):
            info = await api.info()
    except TimeoutError:
        return judge_readiness(one.need, None, f"not within {ASK_TIMEOUT_S:g} s")
    except AgentError as error:
        return judge_readiness(one.need, None, str(error))
    return judge_readiness(one.need, info, None)
