"""Crash anywhere: whole upgrades, with one process killed at a random moment; they end as the one without the kill.

The victim and the moment come from the seed; CRASH_VICTIM=worker says another victim. `CRASH_SEED=7 pytest tests/e2e/test_crashes.py` plays one again;
`LONG_TESTS=1` plays fifty. Killed processes are started again, as a supervisor does; what an operator does is done
too: a deploy task whose run is gone is started again.
"""

import os
import time
from random import Random

import httpx
import pytest

from deployments.demo.errors import DemoError
from deployments.demo.fleet import Fleet
from deployments.demo.processes import kill_all, wait_until
from deployments.demo.release_api import ApiProblem
from tests.e2e.fleets import SHORT, running
from tests.e2e.shop import FINAL, STRATEGY, Shop, flow_processes
from tests.postgres import PostgresCluster, find_postgres

CLIENTS = ("web-1", "web-2", "web-3")
VICTIMS = ("prefect server", "worker", "flow", "release api", "postgresql", *CLIENTS)
WITHIN_S = 16.0
"""An upgrade takes about so long, from the request that starts it to its last result."""


def seeds() -> list[int]:
    if chosen := os.environ.get("CRASH_SEED"):
        return [int(chosen)]
    return list(range(1, 51 if os.environ.get("LONG_TESTS") else 6))


@pytest.fixture(scope="module")
def postgres():
    cluster = PostgresCluster(find_postgres(), synchronous_commit="on")
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def crashing_fleet(tmp_path_factory, postgres):
    """A fleet of its own, on PostgreSQL, Prefect's server too: every part of it may die."""
    root = tmp_path_factory.mktemp("crashes").resolve()
    fleet = Fleet(root, CLIENTS, environ=SHORT, database_url=postgres.url(postgres.create_database()))
    with running(fleet):
        yield fleet


@pytest.fixture(scope="module")
def undisturbed(crashing_fleet):
    """How an upgrade ends that nothing disturbs."""
    shop, task_id = begin(crashing_fleet)
    shop.ended(task_id)
    return end_state(shop, task_id)


def begin(fleet):
    """An upgrade in two waves, under way."""
    shop = Shop(fleet)
    shop.put_1_0()
    for client in shop.clients:
        shop.behave(client, "brief")
    task_id = shop.create(strategy=STRATEGY | {"waves": [1, "100%"]})
    start(shop, task_id)
    return shop, task_id


def start(shop, task_id) -> bool:
    """What an operator does with one that isn't under way; refused where it is."""
    try:
        shop.start(task_id)
    except (ApiProblem, httpx.TransportError):
        return False
    return True


def end_state(shop, task_id):
    """Everything that two upgrades are compared by."""
    task = shop.api.get(f"/tasks/{task_id}")
    results, installed = shop.results(task_id), shop.installations()
    counts = {name: value for name, value in task.items() if name.endswith("_count")}
    clients = {
        client: (
            results[client]["status"],
            results[client]["attempt"],
            results[client]["evidence"]["observed_version"],
            installed[client]["version"],
            installed[client]["previous_version"],
            installed[client]["status"],
            shop.serving(client),
            shop.runs(client),
        )
        for client in shop.clients
    }
    return task["status"], counts, clients


def kill(fleet, postgres, victim, shop=None, task_id=None):
    """SIGKILL it, and have it started again as its supervisor would; nobody starts a flow's process again."""
    if victim == "postgresql":
        postgres.kill()
        time.sleep(1)
        postgres.launch()
    elif victim == "flow":
        pids = wait_until("flow run's process", lambda: processes_of(fleet, shop, task_id), timeout_s=30)
        print(f"the flow's processes are {pids}")
        kill_all(lambda: processes_of(fleet, shop, task_id))
    elif victim in CLIENTS:
        fleet.agents[victim].process.kill()
        time.sleep(1)
        fleet.agents[victim].process.start()
    else:
        process = {
            "prefect server": fleet.prefect.process,
            "worker": fleet.worker,
            "release api": fleet.api_process,
        }[victim]
        process.kill()
        time.sleep(1)
        process.start()


def processes_of(fleet, shop, task_id):
    """The processes of the flow run that works on it now."""
    flow_run_id = shop.api.get(f"/tasks/{task_id}")["flow_run_id"]
    return flow_processes(fleet, flow_run_id) if flow_run_id else []


def bring_to_its_end(shop, task_id, timeout_s=240):
    """Until it has ended: as often as its run is gone, it is started again."""
    deadline = time.monotonic() + timeout_s
    task = {"status": "unseen"}
    while time.monotonic() < deadline:
        try:
            task = shop.api.get(f"/tasks/{task_id}")
        except (ApiProblem, httpx.TransportError):
            time.sleep(0.5)
            continue
        if task["status"] in FINAL:
            return task
        if task["status"] in ("pending", "paused"):
            start(shop, task_id)
        time.sleep(1)
    raise DemoError(f"the deploy task never ended: {task['status']}, {task.get('status_reason')}")


@pytest.mark.timeout(420)
@pytest.mark.parametrize("seed", seeds())
def test_upgrade_ends_as_if_nothing_had_died(crashing_fleet, postgres, undisturbed, seed):
    random = Random(seed)
    victim, moment_s = random.choice(VICTIMS), random.uniform(0, WITHIN_S)
    victim = os.environ.get("CRASH_VICTIM", victim)
    print(f"seed {seed}: {victim} dies {moment_s:.1f} s after the start")
    shop, task_id = begin(crashing_fleet)
    time.sleep(moment_s)
    kill(crashing_fleet, postgres, victim, shop, task_id)
    bring_to_its_end(shop, task_id)
    said = f"seed {seed}: {victim} died {moment_s:.1f} s after the start"
    assert end_state(shop, task_id) == undisturbed, said
