"""Flow runs that the release API has begun, against a real Prefect server: one a key, unless it can't begin any more."""

from datetime import timedelta

import pytest
from prefect.client.orchestration import get_client
from prefect.states import Pending

from api import flow_runs
from api.flow_runs import FlowRuns
from api.settings import ApiSettings

TASK = "01a21a37-dbb1-7125-9012-5c749ec877ed"


@pytest.fixture
def runs(prefect_api):
    """The release API's, with a deployment of that name."""
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow_from_name("upgrade")
        deployment_id = client.create_deployment(flow_id, name="fleet")
        yield FlowRuns(ApiSettings(prefect_url=prefect_api))
        client.delete_deployment(deployment_id)


def state_of(flow_run_id):
    with get_client(sync_client=True) as client:
        return client.read_flow_run(flow_run_id).state


def take(flow_run_id):
    """As a worker does, before it begins it."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run_id, Pending(), force=True)


def test_run_that_its_worker_took_and_never_began_is_followed_by_another(runs, monkeypatch):
    first = runs.start(TASK, "key").flow_run_id
    take(first)
    assert runs.start(TASK, "key").flow_run_id == first, "its worker is at it"
    monkeypatch.setattr(flow_runs, "PENDING_FOR", timedelta(0))
    second = runs.start(TASK, "key").flow_run_id
    assert second != first
    assert state_of(first).name == "Crashed"
    assert runs.start(TASK, "key").flow_run_id == second
