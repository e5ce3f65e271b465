"""Requests whose sender goes away before they are whole are handled by nobody."""

import asyncio

import pytest

from api import guard
from api.guard import Guard
from api.settings import ApiSettings

GONE = {"type": "http.disconnect"}
PART = {"type": "http.request", "body": b"{}", "more_body": True}
WHOLE = {"type": "http.request", "body": b"{}", "more_body": False}


async def ask(*messages) -> tuple[list[bytes], list]:
    """The bodies that reached the application, and what was answered."""
    bodies, answered, waiting = [], [], list(messages)
    never = asyncio.Event()

    async def app(scope, _receive, _send):
        bodies.append(scope["state"]["body"])

    async def receive():
        if not waiting:
            await never.wait()
        return waiting.pop(0)

    async def send(message):
        answered.append(message)

    # A public path asks the authenticator nothing.
    guard = Guard(app, ApiSettings(), None, lambda _method, _path, _status: None)
    scope = {"type": "http", "method": "POST", "path": "/healthz", "headers": [(b"host", b"localhost")]}
    await guard(scope, receive, send)
    return bodies, answered


async def test_whole_body_is_handled():
    assert await ask(WHOLE) == ([b"{}"], [])


@pytest.mark.parametrize("before", [[], [PART]], ids=["nothing", "a part"])
async def test_part_of_a_body_is_not(before: list):
    assert await ask(*before, GONE) == ([], [])


async def test_body_in_pieces_is_whole():
    assert await ask(PART, PART, WHOLE) == ([b"{}{}{}"], [])


@pytest.mark.parametrize("before", [[], [PART]], ids=["nothing", "a part"])
async def test_body_that_does_not_come_is_408(before: list, monkeypatch):
    monkeypatch.setattr(guard, "BODY_TIMEOUT_S", 0.1)
    bodies, answered = await ask(*before)
    assert (bodies, answered[0]["status"]) == ([], 408)
    assert (b"connection", b"close") in answered[0]["headers"]
