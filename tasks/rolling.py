"""How a run goes through its clients: wave after wave, so many at a time, until all are done or the brakes are pulled."""

import asyncio

from prefect import get_run_logger

from tasks.rollout import ClientRun, Rollout
from tasks.shards import upgrade_shard
from tasks.upgrading import check_threshold, upgrade_client


async def roll_out(rollout: Rollout) -> None:
    """Every client of every wave that there is something left to do for. Waves are strictly in order."""
    waves = rollout.release.waves
    for number, wave in enumerate(waves, start=1):
        due = [rollout.clients[client] for client in wave if rollout.clients[client].due]
        check_threshold(rollout)
        if not due:
            continue
        if rollout.brakes.pulled:
            get_run_logger().warning(
                "wave %s of %s is not started: %s", number, len(waves), rollout.brakes.reason
            )
            return
        get_run_logger().info("wave %s of %s: %s clients", number, len(waves), len(due))
        await _roll_wave(rollout, number, due)


async def _roll_wave(rollout: Rollout, number: int, due: list[ClientRun]) -> None:
    settings = rollout.settings
    if rollout.release.total <= settings.shard_above:
        await asyncio.gather(*(upgrade_client(rollout, run) for run in due))
        return
    clients = [run.work.client_id for run in due]
    shards = [
        (start, clients[start : start + settings.shard_size])
        for start in range(0, len(clients), settings.shard_size)
    ]
    await asyncio.gather(
        *(
            upgrade_shard(f"wave {number}, clients {start + 1}–{start + len(shard)}", shard)
            for start, shard in shards
        )
    )
