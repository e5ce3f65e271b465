"""Requests whose sender goes away before they are whole are handled by nobody."""

from pathlib import Path

import pytest

from agent.guard import Guard
from agent.settings import AgentSettings

TOKEN = "agent-token-for-tests"


async def ask(folder: Path, *messages) -> tuple[list[bytes], list[int]]:
    """The bodies that reached the application, and the statuses that were answered."""
    bodies, statuses, waiting = [], [], list(messages)

    async def app(_scope, receive, _send):
        bodies.append((await receive())["body"])

    async def receive():
        return waiting.pop(0)

    async def send(message):
        statuses.append(message.get("status"))

    settings = AgentSettings(client_id="web-1", state_dir=folder, token=TOKEN)
    headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {TOKEN}".encode())]
    scope = {"type": "http", "method": "POST", "path": "/v1/x", "headers": headers}
    await Guard(app, settings, frozenset())(scope, receive, send)
    return bodies, statuses


def piece(body: bytes, *, more: bool) -> dict:
    return {"type": "http.request", "body": body, "more_body": more}


GONE = {"type": "http.disconnect"}


async def test_whole_body_is_handled(tmp_path: Path):
    assert await ask(tmp_path, piece(b"{", more=True), piece(b"}", more=False)) == ([b"{}"], [])


@pytest.mark.parametrize("before", [[], [piece(b"{}", more=True)]], ids=["nothing", "a part"])
async def test_part_of_a_body_is_not(tmp_path: Path, before: list):
    assert await ask(tmp_path, *before, GONE) == ([], [])
