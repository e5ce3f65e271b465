"""Flow runs of the deployment `upgrade/fleet`, made with Prefect's own client.

Prefect is imported on first use: it takes seconds, and an API that starts nothing needs none of it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from api.errors import RunsEndedError, SettingsError, TransientApiError
from api.schemas.deploy_tasks import StartAnswer
from api.settings import DEFAULT_PREFECT_URL, ApiSettings, check_prefect_url
from db.models import utc_now
from tasks.errors import LEASE_LASTS

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun, State
    from prefect.client.schemas.responses import DeploymentResponse

DEPLOYMENT = "upgrade/fleet"
TIMEOUT_S = 25.0
MAX_RUNS_PER_KEY = 20
"""Of lost ones: one that was put off is not lost."""
MAX_RUNS_LOOKED_FOR = 5
"""Fewer, so that a person who has seen why they ended can start another one."""
PENDING_FOR = timedelta(minutes=2)
"""A worker needs seconds from taking a flow run to its beginning."""
NO_WORKER = "no worker polls the deployment's work pool: the flow run waits until one does"


@dataclass(frozen=True, slots=True)
class FlowRuns:
    """Starts flow runs. Raises TransientApiError, naming Prefect, where that can't be done now."""

    settings: ApiSettings

    def check(self) -> None:
        """Raises unless Prefect answers and knows the deployment."""
        asyncio.run(self._within_time(self._check()))

    def start(self, deploy_task_id: str, key: str, *, by_itself: bool = False) -> StartAnswer:
        """One flow run for this deploy task and key, however often it is asked for; one that can't begin is followed by another.

        `by_itself`: nobody asks: one that was cancelled in Prefect is not followed, unless a person had it followed
        already. Raises RunsEndedError.
        """
        work = self._start(deploy_task_id, key, by_itself)
        answer: StartAnswer = asyncio.run(self._within_time(work))
        return answer

    async def _check(self) -> None:
        async with self._client() as client:
            await client.read_deployment_by_name(DEPLOYMENT)

    async def _start(self, deploy_task_id: str, key: str, by_itself: bool) -> StartAnswer:
        async with self._client() as client:
            deployment = await client.read_deployment_by_name(DEPLOYMENT)
            run = await _living_run(client, deployment, deploy_task_id, key, by_itself)
            warning = None if await _is_polled(client, deployment) else NO_WORKER
            url = f"{str(client.api_url).rstrip('/').removesuffix('/api')}/runs/flow-run/{run.id}"
        return StartAnswer(flow_run_id=str(run.id), flow_run_url=url, warning=warning)

    async def _within_time(self, work: Any) -> Any:
        import httpx
        from prefect.exceptions import ObjectNotFound, PrefectException

        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await work
        except ObjectNotFound as error:
            raise TransientApiError(
                "Prefect", f"cannot start: Prefect has no deployment {DEPLOYMENT}"
            ) from error
        except (httpx.HTTPError, PrefectException, OSError, TimeoutError, RuntimeError) as error:
            detail = f"cannot start: the Prefect server can't be reached ({type(error).__name__})"
            raise TransientApiError("Prefect", detail) from error

    @asynccontextmanager
    async def _client(self) -> "AsyncIterator[PrefectClient]":
        from prefect.client.orchestration import PrefectClient
        from prefect.settings import get_current_settings

        known = get_current_settings().api
        url = self.settings.prefect_url or known.url or DEFAULT_PREFECT_URL
        auth = known.auth_string.get_secret_value() if known.auth_string else None
        try:
            check_prefect_url(url, authenticated=auth is not None)
        except SettingsError as error:
            raise TransientApiError("Prefect", str(error)) from error
        async with PrefectClient(url, auth_string=auth) as client:
            yield client


async def _living_run(
    client: "PrefectClient",
    deployment: "DeploymentResponse",
    deploy_task_id: str,
    key: str,
    by_itself: bool,
) -> "FlowRun":
    # A run that ended before it took the deploy task up still owns its key: the next one's is made of its id. So does one
    # that its worker took and never began: nobody takes it again.
    lost, cancelled = 0, False
    while (run := await _find_run(client, deployment, key)) is not None:
        if run.state is None or not (run.state.is_final() or await _gave_up(client, run)):
            return run
        lost += not _was_put_off(run.state)
        cancelled = run.state.is_cancelled()
        key = f"{deploy_task_id}:{run.id}"
    if by_itself and cancelled:
        raise RunsEndedError("Prefect", "cannot start: its flow run was cancelled in Prefect")
    if lost >= (MAX_RUNS_LOOKED_FOR if by_itself else MAX_RUNS_PER_KEY):
        raise RunsEndedError("Prefect", "cannot start: its flow runs end before they begin: see Prefect's UI")
    return await client.create_flow_run_from_deployment(
        deployment.id, parameters={"deploy_task_id": deploy_task_id}, idempotency_key=key
    )


async def _find_run(client: "PrefectClient", deployment: "DeploymentResponse", key: str) -> "FlowRun | None":
    """The flow run that was made with this key, if any: Prefect keeps them apart by flow, not by deployment."""
    from prefect.client.schemas import filters

    found = await client.read_flow_runs(
        flow_filter=filters.FlowFilter(id=filters.FlowFilterId(any_=[deployment.flow_id])),
        flow_run_filter=filters.FlowRunFilter(
            idempotency_key=filters.FlowRunFilterIdempotencyKey(any_=[key])
        ),
    )
    return found[0] if found else None


def _was_put_off(state: "State[Any]") -> bool:
    """Whether it began, and another deploy task had been quicker."""
    return state.name == "Refused" and LEASE_LASTS in (state.message or "")


async def _gave_up(client: "PrefectClient", run: "FlowRun") -> bool:
    """Whether a worker took the run so long ago that it must have died before it began it; then it is marked as crashed."""
    from prefect.states import Crashed

    state = run.state
    if state is None or not state.is_pending() or utc_now() - state.timestamp < PENDING_FOR:
        return False
    await client.set_flow_run_state(
        run.id, Crashed(message="its worker took it and never began it"), force=True
    )
    return True


async def _is_polled(client: "PrefectClient", deployment: "DeploymentResponse") -> bool:
    if deployment.work_pool_name is None:
        return deployment.status is not None and deployment.status.value == "READY"
    workers = await client.read_workers_for_work_pool(deployment.work_pool_name)
    return any(worker.status is not None and worker.status.value == "ONLINE" for worker in workers)
