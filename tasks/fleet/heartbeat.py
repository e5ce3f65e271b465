"""One round of the heartbeat: whom it asks, and what came of it."""

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Completed

from agent.client import agent_http_client
from agent.transport import caller_tls
from db.models import utc_now
from db.secrets import load_secret_key
from db.session import Database, open_database
from tasks.fleet.asking import AT_ONCE, ROUND, ROUND_S, SHARD, Answer, Round, ask_clients
from tasks.fleet.settling import is_anything_unsettled, settle_unknown
from tasks.fleet.silence import AskedClient, find_to_ask, mark_heard


async def ask_the_silent(silent_for_s: float, ask_timeout_s: float) -> State[Any]:
    """Mark who is heard of, ask the others; the counts are in the state's message."""
    tls = caller_tls()
    database = await asyncio.to_thread(open_database)
    try:
        began = utc_now()
        asked = await asyncio.to_thread(_find, database, began, silent_for_s)
        async with agent_http_client(AT_ONCE, tls=tls) as http:
            clients = {client.client_id: client for client in asked}
            deadline = time.monotonic() + ROUND_S
            slots = asyncio.Semaphore(AT_ONCE)
            ROUND.set(Round(clients, database, http, ask_timeout_s, began, deadline, slots))
            answers = await asyncio.gather(*(ask_clients(*shard) for shard in shards_of(list(clients))))
            unsettled = await asyncio.to_thread(is_anything_unsettled, database)
            settled = await settle_unknown() if unsettled else 0
    finally:
        database.close()
    told = said([one for shard in answers for one in shard])
    return Completed(message=f"{told}; {settled} outcomes settled" if settled else told)


def shards_of(clients: Sequence[str]) -> list[tuple[str, Sequence[str]]]:
    """Fifty in one task run, and what that is called."""
    parts = (clients[start : start + SHARD] for start in range(0, len(clients), SHARD))
    return [
        (f"clients {number * SHARD + 1}–{number * SHARD + len(part)}", part)
        for number, part in enumerate(parts)
    ]


def _find(database: Database, now: datetime, silent_for_s: float) -> list[AskedClient]:
    with database.write() as session:
        mark_heard(session)
    with database.read() as session:
        return find_to_ask(session, load_secret_key(), now, silent_for_s)


def said(answers: Sequence[Answer]) -> str:
    """`12 were asked: 10 online, 2 offline, 3 monitors put right`."""
    if not answers:
        return "nobody had to be asked"
    asked = [one for one in answers if one.online is not None]
    online = sum(one.online is True for one in asked)
    right = sum(one.put_right for one in asked)
    rest = f"; {len(answers) - len(asked)} could not be asked" if len(asked) < len(answers) else ""
    return (
        f"{len(asked)} were asked: {online} online, {len(asked) - online} offline, "
        f"{right} monitors put right{rest}"
    )
