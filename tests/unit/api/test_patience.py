"""Many short waits under one limit of time."""

import asyncio

import pytest

from api.patience import Patience


async def test_result_and_errors_of_what_is_in_time_are_its_own():
    patience = Patience(5)

    async def answer():
        await asyncio.sleep(0)
        return 42

    async def fail():
        raise LookupError("its own")

    assert await patience.wait_for(answer()) == 42
    with pytest.raises(LookupError, match="its own"):
        await patience.wait_for(fail())


async def test_what_takes_too_long_ends_and_the_others_go_on():
    patience = Patience(0.2)
    ended = asyncio.Event()

    async def stuck():
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def short():
        for _ in range(5):
            await patience.wait_for(asyncio.sleep(0.1))
        return "done"

    stuck_one, short_one = asyncio.create_task(patience.wait_for(stuck())), asyncio.create_task(short())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(stuck_one, 10)
    assert ended.is_set()
    assert await short_one == "done"


async def test_task_goes_on_after_its_wait_was_ended():
    patience = Patience(0.05)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await patience.wait_for(asyncio.Event().wait())
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0
    await asyncio.sleep(0)


async def test_cancellation_from_elsewhere_is_no_timeout():
    patience = Patience(60)
    waiting = asyncio.create_task(patience.wait_for(asyncio.Event().wait()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_limit_holds_again_after_a_time_without_waits():
    patience = Patience(0.05)
    assert await patience.wait_for(asyncio.sleep(0, "done")) == "done"
    await asyncio.sleep(0.2)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(patience.wait_for(asyncio.Event().wait()), 10)
