"""The Prefect task that names every container before anything is started, and shows the names."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from agent.errors import AgentError
from agent.naming import NamingError, make_name
from agent.wire.containers import ContainerInfo, ContainerListRequest
from db.models import utc_now
from tasks.artifacts import show_names
from tasks.errors import LeaseLostError
from tasks.recipes import ContainerRecipe
from tasks.rollout import ROLLOUT, ClientRun, Rollout
from tasks.run_texts import NameRow


@task(name="name_containers", cache_policy=NO_CACHE, persist_result=False)
async def name_containers() -> State[Any]:
    """Ask every client that is to be started which containers it has, and store the name of its next one.

    A client whose agent doesn't answer now is named later, by its agent. The name is a plan: one that is taken by the
    time it is used gives way to the next.
    """
    rollout, now = ROLLOUT.get(), utc_now()
    runs = named_runs(rollout)
    rows = await asyncio.gather(*(_name(rollout, run, now) for run in runs))
    await show_names(rollout.release, rows)
    named = sum(row.name is not None for row in rows)
    return Completed(message=f"{named} of {len(rows)} containers have a name")


def named_runs(rollout: Rollout) -> list[ClientRun]:
    """The clients that get a container: none in an uninstall, nor in a project of scripts."""
    if rollout.release.operation == "uninstall":
        return []
    runs = rollout.clients.values()
    return [
        run for run in runs if run.due and not run.reattaches and isinstance(run.work.recipe, ContainerRecipe)
    ]


async def _name(rollout: Rollout, run: ClientRun, now: datetime) -> NameRow:
    recipe = run.work.recipe
    assert isinstance(recipe, ContainerRecipe)
    said, current = None, None
    try:
        async with rollout.slots:
            listed = await rollout.api_of(run).list_containers(ContainerListRequest())
        mine = _mine(rollout, run, listed.containers)
        current = next((one.container_name for one in mine if one.state == "running"), None)
        name = _kept(rollout, run, mine) or make_name(
            recipe.naming,
            environment=run.work.environment,
            version=run.work.to_version,
            at=now,
            taken={one.container_name for one in listed.containers},
        )
        await rollout.name(run, name)
    except (AgentError, NamingError) as error:
        get_run_logger().warning("%s: its container is named later: %s", run.work.client_id, error)
        said = str(error)
    except LeaseLostError as error:
        said = str(error)
    return NameRow(
        run.work.client_id, run.work.wave, current, run.container_name, recipe.deploy_config.image, said
    )


def _mine(rollout: Rollout, run: ClientRun, containers: Sequence[ContainerInfo]) -> list[ContainerInfo]:
    project, client = rollout.release.project_id, run.work.client_id
    return [one for one in containers if one.project_id == project and one.client_id in (None, client)]


def _kept(rollout: Rollout, run: ClientRun, mine: Sequence[ContainerInfo]) -> str | None:
    """For a rollback: the container of the version that is gone back to, if it runs already, or the client kept one."""
    if rollout.release.operation != "rollback":
        return None
    running = [one for one in mine if one.state == "running"]
    if [one.version for one in running] == [run.work.to_version]:
        return running[0].container_name
    kept = [one for one in mine if one.state == "exited" and one.version == run.work.to_version]
    return max(kept, key=lambda one: one.started_at or one.created_at).container_name if kept else None
