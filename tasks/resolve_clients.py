"""The flow's first task: whom the upgrade is for. It makes the deploy task from the form, once per flow run."""

import asyncio
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Failed

from db.documents.deploy_request import DeployTaskRequest
from db.models import utc_now
from db.session import open_database
from tasks.errors import PermanentTaskError
from tasks.form import UpgradeForm, request_of
from tasks.planning import create_deploy_task
from tasks.planning.strategies import fill_in_strategy

CREATED_BY = "prefect"


@task(name="resolve_clients", cache_policy=NO_CACHE, persist_result=False)
async def resolve_clients(request: UpgradeForm) -> str | State[Any]:
    """The id of the deploy task that the form asks for; a re-run of the same flow run finds the same one.

    A request that can't become one is a failed state with one clear line, not an exception with its stack trace.
    """
    key = str(flow_run.id)
    try:
        asked = request_of(request, created_by=CREATED_BY)
        deploy_task_id, said = await asyncio.to_thread(_create, asked, key)
    except PermanentTaskError as error:
        return Failed(message=str(error))
    get_run_logger().info("deploy task %s: %s", deploy_task_id, said)
    return deploy_task_id


def _create(request: DeployTaskRequest, key: str) -> tuple[str, str]:
    database = open_database()
    try:
        with database.write() as session:
            whole = fill_in_strategy(session, request)
            task = create_deploy_task(session, whole, now=utc_now(), who=CREATED_BY, request_key=key)
            said = f"{len(task.plan.clients)} clients in {len(task.plan.waves)} waves, {len(task.skipped)} passed over"
            return task.id, said
    finally:
        database.close()
