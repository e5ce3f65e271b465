"""So many clients at once: each with task runs of its own, or in a large fleet a shard of them in one."""

import asyncio

from tasks.rollout import ClientRun, Rollout
from tasks.shards import upgrade_shard
from tasks.upgrading import upgrade_client


async def roll_wave(rollout: Rollout, name: str, due: list[ClientRun]) -> None:
    """Work on these clients until each has its outcome, or the brakes keep it from starting."""
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
            upgrade_shard(f"{name}, clients {start + 1}–{start + len(shard)}", shard)
            for start, shard in shards
        )
    )
