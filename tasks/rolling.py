"""How a run goes through its clients: wave after wave, so many at a time, until all are done or the brakes are pulled."""

import asyncio
from typing import Any

from prefect import get_run_logger

from tasks.name_containers import name_containers, named_runs
from tasks.rollout import ClientRun, Rollout
from tasks.shards import upgrade_shard
from tasks.upgrading import check_threshold, upgrade_client


async def roll_out(rollout: Rollout) -> None:
    """Every client of every wave that there is something left to do for. Waves are strictly in order.

    Containers get their names before any of them is started. First go those whose scripts or containers an earlier run
    of this deploy task started: they are finished whatever the brakes say.
    """
    waves = rollout.release.waves
    if named_runs(rollout):
        await name_all()
    in_flight = [run for run in rollout.clients.values() if run.reattaches]
    if in_flight:
        get_run_logger().info("%s clients are in flight: asking their agents", len(in_flight))
        await _roll_wave(rollout, "in flight", in_flight)
    for number, wave in enumerate(waves, start=1):
        due = [run for client in wave if (run := rollout.clients[client]).due and not run.reattaches]
        check_threshold(rollout)
        if not due:
            continue
        if rollout.brakes.pulled:
            get_run_logger().warning(
                "wave %s of %s is not started: %s", number, len(waves), rollout.brakes.reason
            )
            return
        get_run_logger().info("wave %s of %s: %s clients", number, len(waves), len(due))
        await _roll_wave(rollout, f"wave {number}", due)


async def name_all() -> None:
    """The task run that names the containers. Prefect's types say that `return_state` is synchronous; it is not."""
    naming: Any = name_containers
    await naming(return_state=True)


async def _roll_wave(rollout: Rollout, name: str, due: list[ClientRun]) -> None:
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
