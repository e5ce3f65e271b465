"""The upgrade: brings a project's clients to a version, wave after wave."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from tasks.dry_run import show_plan
from tasks.finishing import final_state
from tasks.form import UpgradeForm, check_parameters
from tasks.rolling import roll_out
from tasks.run_hooks import mark_cancelled, mark_paused
from tasks.upgrade_run import (
    REFUSALS,
    check_settings,
    close,
    find_deploy_task,
    opened,
    refuse,
    scheduled,
    watched,
)


@flow(
    name="upgrade",
    description="Bring a project's clients to a version, wave after wave, and prove it on each of them.",
    validate_parameters=False,  # checked below, where a mistake becomes one clear line
    persist_result=False,
    on_cancellation=[mark_cancelled],
    on_crashed=[mark_paused],
)
async def upgrade(
    deploy_task_id: str | None = None, request: UpgradeForm | None = None, dry_run: bool = False
) -> State[Any]:
    """Bring clients to a version.

    Args:
        deploy_task_id: a deploy task that was made with the release API. Give this or a request, not both.
        request: what to upgrade, when there is no deploy task yet.
        dry_run: only show the plan, how the scripts differ, and whether each client is ready; nothing is written or started.
    """
    try:
        form = check_parameters(deploy_task_id, request)
        check_settings()
        if dry_run:
            return await show_plan(deploy_task_id, form)
        found = await find_deploy_task(deploy_task_id, form)
        if (later := scheduled(found, form)) is not None:
            return later
        async with opened(found) as rollout:
            async with watched(rollout):
                await roll_out(rollout)
            return final_state(await close(rollout))
    except REFUSALS as error:
        return refuse(error)
