"""Many short waits under one limit of time."""

import asyncio

import pytest

from api.patience import Patience


async def ends_in_time_out(waiting):
    """By itself: not because the test has waited long enough."""
    task = asyncio.ensure_future(waiting)
    await asyncio.wait([task], timeout=20)
    assert task.done(), "its limit did not end it"
    with pytest.raises(TimeoutError):
        await task


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
    patience = Patience(1)
    ended = asyncio.Event()

    async def stuck():
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def short():
        for _ in range(200):
            await patience.wait_for(asyncio.sleep(0.01))
        return "done"

    stuck_one, short_one = asyncio.create_task(patience.wait_for(stuck())), asyncio.create_task(short())
    await ends_in_time_out(stuck_one)
    assert ended.is_set()
    assert await short_one == "done"


async def test_task_goes_on_after_its_wait_was_ended():
    patience = Patience(0.05)

    async def work():
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await patience.wait_for(asyncio.Event().wait())
        await asyncio.sleep(0.01)
        return asyncio.current_task().cancelling()

    task = asyncio.create_task(work())
    await asyncio.wait([task], timeout=20)
    assert task.done(), "its limit did not end it"
    assert task.result() == 0


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
    await ends_in_time_out(patience.wait_for(asyncio.Event().wait()))
