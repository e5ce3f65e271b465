"""The heartbeat's question: is the agent there, and does it watch what is installed? A shard of clients in one task run."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from sqlalchemy import select

from agent.client import AgentApi
from agent.errors import AgentError, TransientAgentError
from db.models import Client, utc_now
from db.session import Database
from tasks.decisions.monitoring import decide_monitors
from tasks.fleet.silence import SilentClient, mark

SHARD = 50
AT_ONCE = 25
"""Clients of a shard that are asked at the same time."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of asking one client. `error`: what it would not do."""

    client_id: str
    online: bool
    put_right: int = 0
    error: str | None = None


@task(
    name="ask_clients",
    task_run_name="{name}",
    cache_policy=NO_CACHE,
    persist_result=False,
    timeout_seconds=240,
)
async def ask_clients(
    name: str,  # noqa: ARG001 (the task run's)
    clients: Sequence[Any],
    database: Any,
    http: Any,
    ask_timeout_s: float,
) -> list[Heard]:
    """Ask each, put its monitors right, write down who is online; answers what was heard."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def ask(client: SilentClient) -> Heard:
        async with gate:
            return await _ask(client, http, ask_timeout_s)

    heard = await asyncio.gather(*(ask(client) for client in clients))
    await asyncio.to_thread(_write, database, heard)
    for one in heard:
        if one.error:
            get_run_logger().warning("%s: %s", one.client_id, one.error)
    return heard


async def _ask(client: SilentClient, http: httpx.AsyncClient, ask_timeout_s: float) -> Heard:
    """Twice, where it can't be reached at first: a lost packet makes nobody offline."""
    api = AgentApi(http, client.url, client.token or "", client_id=client.client_id)
    for attempt in (1, 2):
        try:
            async with asyncio.timeout(ask_timeout_s):
                return await _look(client, api)
        except (TransientAgentError, TimeoutError) as error:
            if attempt == 2:
                return Heard(
                    client.client_id, False, error=f"can't be reached: {error or 'no answer in time'}"
                )
            await asyncio.sleep(1)
        except AgentError as error:
            return Heard(client.client_id, True, error=str(error))
    raise AssertionError("it was asked twice")


async def _look(client: SilentClient, api: AgentApi) -> Heard:
    info = await api.info()
    if info.client_id != client.client_id:
        return Heard(client.client_id, False, error=f"the agent at its address is {info.client_id}'s")
    changes = decide_monitors(client.monitors, await api.monitors(), info.features, client.leave)
    for project_id, monitor in changes.put.items():
        await api.put_monitor(project_id, monitor)
    for project_id in changes.delete:
        await api.delete_monitor(project_id)
    return Heard(client.client_id, True, len(changes.put) + len(changes.delete))


def _write(database: Database, heard: Sequence[Heard]) -> None:
    now = utc_now()
    with database.write() as session:
        ids = [one.client_id for one in heard]
        query = select(Client.client_id, Client.online).where(Client.client_id.in_(ids))
        was = {row.client_id: row.online for row in session.execute(query)}
        for one in heard:
            if one.client_id in was:
                mark(session, one.client_id, online=one.online, was=was[one.client_id], at=now)
