"""What a run asks of Prefect beside its work never keeps the run."""

import asyncio

import pytest

from tasks.artifacts import best_effort


async def test_cancellation_that_comes_as_the_call_ends_is_not_lost():
    answer = asyncio.get_running_loop().create_future()

    async def ask() -> str:
        return await answer

    asking = asyncio.create_task(best_effort("ask", ask()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    answer.set_result("here")
    await asyncio.sleep(0)
    if not asking.done():
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
