"""Many clients in one task run, for fleets where a task run each would cost more than the upgrade itself.

The quick way is tried once per client. Whatever needs a second look gets task runs of its own: a client whose agent
could not be reached goes the long way, with its retries; one that failed is shown as a failed task run.
"""

import asyncio
from contextlib import suppress

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from agent.errors import TransientAgentError
from tasks.errors import LeaseLostError
from tasks.executing import run_script
from tasks.outcomes import Outcome
from tasks.proving import prove_version
from tasks.rollout import ROLLOUT, ClientRun, Rollout
from tasks.run_release import report_client
from tasks.upgrading import check_thresholds, may_go_on, state_of, upgrade_client


@task(name="upgrade_shard", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
async def upgrade_shard(name: str, clients: list[str]) -> str:
    """Upgrade these clients; answers how many of them succeeded."""
    rollout = ROLLOUT.get()
    runs = [rollout.clients[client] for client in clients]
    await asyncio.gather(*(_upgrade(rollout, run) for run in runs))
    succeeded = sum(run.outcome is not None and run.outcome.succeeded for run in runs)
    return f"{name}: {succeeded} of {len(runs)} upgraded"


async def _upgrade(rollout: Rollout, run: ClientRun) -> None:
    try:
        outcome = await _quick(rollout, run)
        if outcome is None:
            return
        await rollout.record(run, outcome)
    except TransientAgentError:
        await upgrade_client(rollout, run)
        return
    except LeaseLostError:
        return
    except Exception as error:  # noqa: BLE001 (one client's trouble, whatever it is, ends no other's)
        get_run_logger().exception("%s: its upgrade broke off", run.work.client_id)
        outcome = Outcome("unknown", f"its upgrade broke off: {type(error).__name__}")
        with suppress(LeaseLostError):
            await rollout.record(run, outcome)
    if not outcome.succeeded and outcome.status != "skipped":
        await state_of(report_client, run.work.client_id)
    await check_thresholds(rollout)


async def _quick(rollout: Rollout, run: ClientRun) -> Outcome | None:
    """The outcome, or None where the brakes were pulled before it began."""
    async with rollout.slots:
        if not may_go_on(rollout, run) or await rollout.pass_over(run):
            return None
        ended = await run_script(rollout, run)
    if ended is None or isinstance(ended, Outcome):
        return ended
    return await prove_version(rollout, run, ended)
