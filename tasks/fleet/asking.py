"""The heartbeat's question: is the agent there, and does it watch what is installed? A shard of clients in one task run."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime

import httpx
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from sqlalchemy import select

from agent.client import AgentApi
from agent.errors import AgentError, PermanentAgentError, TransientAgentError
from agent.wire.info import AgentInfo
from db.models import Client, utc_now
from db.queries.clients import reported_since
from db.session import Database
from tasks.decisions.monitoring import decide_monitors
from tasks.fleet.silence import AskedClient, ask_for, mark

SHARD = 50
AT_ONCE = 150
"""Clients that are asked at the same time: a thousand that don't answer are through within a round."""
AGAIN_S = 1.0
MOST_LINES = 10
NOTHING_SENT = 0
"""The status of a PermanentAgentError where there is no token, or no URL, to ask with."""
ROUND_S = 240.0
"""Within it everybody is asked, or left to the next round: half a minute is left to write down what was heard."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of asking one client. `online` None: it was not, or could not be asked. `error`: what it would not do."""

    client_id: str
    online: bool | None
    put_right: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """What the shards of one round share. `began`: before anybody was found silent; `deadline`: of time.monotonic()."""

    clients: Mapping[str, AskedClient]
    database: Database
    http: httpx.AsyncClient
    ask_timeout_s: float
    began: datetime
    deadline: float
    slots: asyncio.Semaphore


ROUND: ContextVar[Round] = ContextVar("round")
"""The round that a task belongs to: tasks take ids, and find what they need here."""


@task(
    name="ask_clients",
    task_run_name="{name}",
    cache_policy=NO_CACHE,
    persist_result=False,
    timeout_seconds=270,
)
async def ask_clients(name: str, clients: Sequence[str]) -> list[Answer]:  # noqa: ARG001 (the task run's name)
    """Ask each, put its monitors right, write down who is online; answers what was heard."""
    round_ = ROUND.get()
    answers = await asyncio.gather(*(_ask_in_turn(round_, round_.clients[client]) for client in clients))
    await asyncio.to_thread(_write, round_, answers)
    _log(round_, answers)
    return answers


def _log(round_: Round, answers: Sequence[Answer]) -> None:
    """What is new of those that did not do as asked: an outage is not told anew by each round."""
    news = [one for one in answers if one.error and round_.clients[one.client_id].was_online is not False]
    for one in news[:MOST_LINES]:
        get_run_logger().warning("%s: %s", one.client_id, one.error)
    if len(news) > MOST_LINES:
        get_run_logger().warning("… and %d more", len(news) - MOST_LINES)


async def _ask_in_turn(round_: Round, client: AskedClient) -> Answer:
    async with round_.slots:
        if time.monotonic() + _longest_s(round_, client) > round_.deadline:
            return Answer(client.client_id, None)
        return await _ask(round_, client)


def _longest_s(round_: Round, client: AskedClient) -> float:
    """How long it may take to ask it, with the pauses, and then to put its monitors right."""
    attempts = _attempts(client)
    return (attempts + 1) * round_.ask_timeout_s + (attempts - 1) * AGAIN_S


def _attempts(client: AskedClient) -> int:
    return 1 if client.was_online is False else 2


async def _ask(round_: Round, client: AskedClient) -> Answer:
    """Again, where it can't be reached at first: a lost packet makes nobody offline. Once, where it is offline already."""
    api = AgentApi(round_.http, client.url, client.token or "", client_id=client.client_id)
    attempts = _attempts(client)
    for attempt in range(1, attempts + 1):
        try:
            async with asyncio.timeout(round_.ask_timeout_s):
                info = await api.info()
            break
        except (TransientAgentError, TimeoutError) as error:
            if attempt == attempts:
                return Answer(
                    client.client_id, False, error=f"can't be reached: {str(error) or 'no answer in time'}"
                )
            await asyncio.sleep(AGAIN_S)
        except PermanentAgentError as error:
            if error.status == NOTHING_SENT:
                never = client.was_online is None
                return Answer(client.client_id, None if never else False, error=str(error))
            return Answer(client.client_id, True, error=str(error))
    if info.client_id != client.client_id:
        return Answer(client.client_id, False, error=f"the agent at its address is {info.client_id}'s")
    return await _put_right(round_, client, api, info)


async def _put_right(round_: Round, client: AskedClient, api: AgentApi, info: AgentInfo) -> Answer:
    """It is there; whatever becomes of its monitors, the next round looks again."""
    done = 0
    try:
        async with asyncio.timeout(round_.ask_timeout_s):
            found = await api.monitors()
            changes = decide_monitors(client.monitors, found, info.features, client.leave)
            if (
                changes.put or changes.delete
            ):  # the round may have begun minutes ago, and a deployment ended since
                client = await asyncio.to_thread(_read_anew, round_, client)
                changes = decide_monitors(client.monitors, found, info.features, client.leave)
            for project_id, monitor in changes.put.items():
                await api.put_monitor(project_id, monitor)
                done += 1
            for project_id in changes.delete:
                await api.delete_monitor(project_id)
                done += 1
    except (AgentError, TimeoutError) as error:
        said = str(error) or "no answer in time"
        return Answer(client.client_id, True, done, f"cannot put its monitors right: {said}")
    return Answer(client.client_id, True, done)


def _read_anew(round_: Round, client: AskedClient) -> AskedClient:
    with round_.database.read() as session:
        return ask_for(session, client, utc_now())


def _write(round_: Round, answers: Sequence[Answer]) -> None:
    now = utc_now()
    with round_.database.write() as session:
        ids = [one.client_id for one in answers]
        query = select(Client.client_id, Client.online).where(Client.client_id.in_(ids))
        was = {row.client_id: row.online for row in session.execute(query)}
        reporting = reported_since(session, ids, round_.began)
        reporting |= {client_id for client_id in ids if round_.clients[client_id].reporting}
        for one in sorted(answers, key=lambda one: one.client_id):
            unreachable = one.online is False and one.client_id in reporting
            if one.online is not None and one.client_id in was and not unreachable:
                mark(session, one.client_id, online=one.online, was=was[one.client_id], at=now)
