"""One round of the heartbeat: whom it asks, and what came of it."""

import asyncio
from datetime import timedelta
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Completed

from agent.client import agent_http_client
from agent.transport import caller_tls
from db.models import utc_now
from db.secrets import load_secret_key
from db.session import Database, open_database
from tasks.fleet.asking import SHARD, Heard, ask_clients
from tasks.fleet.silence import SilentClient, find_silent, mark_heard


async def ask_the_silent(silent_for_s: float, ask_timeout_s: float) -> State[Any]:
    """Mark who is heard of, ask the others; the counts are in the state's message."""
    database = await asyncio.to_thread(open_database)
    try:
        silent = await asyncio.to_thread(_find, database, timedelta(seconds=silent_for_s))
        async with agent_http_client(tls=caller_tls()) as http:
            shards = [silent[start : start + SHARD] for start in range(0, len(silent), SHARD)]
            heard: list[Heard] = []
            for number, shard in enumerate(shards):
                name = f"clients {number * SHARD + 1}–{number * SHARD + len(shard)}"
                heard += await ask_clients(name, shard, database, http, ask_timeout_s)
    finally:
        database.close()
    return Completed(message=said(heard))


def _find(database: Database, silent_for: timedelta) -> list[SilentClient]:
    now = utc_now()
    with database.write() as session:
        mark_heard(session, now, silent_for)
    with database.read() as session:
        return find_silent(session, load_secret_key(), now, silent_for)


def said(heard: list[Heard]) -> str:
    """`12 were silent: 10 online, 2 offline, 3 monitors put right`."""
    online = sum(one.online for one in heard)
    right = sum(one.put_right for one in heard)
    if not heard:
        return "nobody was silent"
    return f"{len(heard)} were silent: {online} online, {len(heard) - online} offline, {right} monitors put right"
