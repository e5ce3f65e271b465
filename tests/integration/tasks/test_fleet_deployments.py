"""prefect.yaml on a real Prefect server: the schedules, and what becomes of a run that finds the last one running."""

import os
import subprocess
import sys
from datetime import timedelta

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.states import Completed, Pending, Running

from deployments.demo.environment import CODE

FLOWS = ("heartbeat", "watch", "retention")


@pytest.fixture(scope="module")
def deployed(prefect_server, tmp_path_factory):
    """`prefect deploy --all`, as an operator does it."""
    env = os.environ | {
        "PREFECT_API_URL": prefect_server.url,
        "PREFECT_HOME": str(tmp_path_factory.mktemp("p")),
    }
    for command in (
        ["work-pool", "create", "--type", "process", "hoist"],
        ["--no-prompt", "deploy", "--all"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *command],
            cwd=CODE,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("flow", FLOWS)
async def test_every_five_minutes_tagged_system(deployed, prefect_api, flow):
    async with get_client() as client:
        found = await client.read_deployment_by_name(f"{flow}/fleet")
    assert set(found.tags) == {"hoist", "system"}
    [schedule] = found.schedules
    assert schedule.active
    assert schedule.schedule.interval == timedelta(minutes=5)
    assert found.parameter_openapi_schema["properties"], "a typed form"


async def test_they_take_turns(deployed, prefect_api):
    async with get_client() as client:
        found = [await client.read_deployment_by_name(f"{flow}/fleet") for flow in FLOWS]
    seconds = [one.schedules[0].schedule.anchor_date.timestamp() % 300 for one in found]
    assert seconds == [0, 90, 180]


@pytest.mark.parametrize("flow", FLOWS)
async def test_run_that_finds_the_last_one_running_is_cancelled_and_not_queued(deployed, prefect_api, flow):
    async with get_client() as client:
        deployment = await client.read_deployment_by_name(f"{flow}/fleet")
        first, second, third = [await client.create_flow_run_from_deployment(deployment.id) for _ in range(3)]
        await client.set_flow_run_state(first.id, Pending())
        await client.set_flow_run_state(first.id, Running())
        for run in (second, third):
            await client.set_flow_run_state(run.id, Pending())
            state = (await client.read_flow_run(run.id)).state
            assert state.type is StateType.CANCELLED
        assert (await client.read_flow_run(first.id)).state.type is StateType.RUNNING
        await client.set_flow_run_state(first.id, Completed())
        fourth = await client.create_flow_run_from_deployment(deployment.id)
        await client.set_flow_run_state(fourth.id, Pending())
        assert (await client.read_flow_run(fourth.id)).state.type is StateType.PENDING
        await client.delete_flow_run(fourth.id)
