"""A watched application dies: people are told once, and once more when it is back, whatever else dies in between."""

import httpx
import pytest

from db.session import open_database
from deployments.demo.fleet import Fleet
from deployments.demo.processes import wait_until
from deployments.demo.release_api import ApiProblem
from tests.e2e.fleets import SHORT, running
from tests.e2e.shop import Shop, pause
from tests.e2e.test_crashes import kill, postgres
from tests.integration.api.test_notifications import hook, told

__all__ = ["hook", "postgres"]

CLIENT = "web-1"
PARTS = (CLIENT, "release api", "worker", "prefect server", "postgresql")


@pytest.fixture
def watching_fleet(tmp_path, postgres, hook):
    """A fleet of its own, of one client, that tells the web hook."""
    notify_file = tmp_path / "notify.toml"
    notify_file.write_text(f'[[channel]]\nname = "ops"\nurl = "{hook.url}"\nlevels = ["critical"]\n')
    notify_file.chmod(0o600)
    root = (tmp_path / "fleet").resolve()
    environ = SHORT | {"HOIST_NOTIFY_FILE": str(notify_file)}
    fleet = Fleet(root, (CLIENT,), environ=environ, database_url=postgres.url(postgres.create_database()))
    with running(fleet):
        yield fleet


@pytest.mark.timeout(420)
def test_exit_and_return_are_told_once_each_although_every_part_dies_in_between(
    watching_fleet, postgres, hook
):
    shop = Shop(watching_fleet)
    shop.put_1_0()
    assert shop.upgrade()["status"] == "completed"
    titles = lambda: [title for title in hook.titles if "process exit" in title]
    reported = lambda: watching_fleet.api.get(f"/projects/{shop.project}/processes")["clients"]
    wait_until("first report of the application", lambda: reported()[0]["status"] == "healthy" or None)

    assert shop.kill_application(CLIENT)
    wait_until("news of its exit", lambda: titles() or None)
    for part in PARTS:
        kill(watching_fleet, postgres, part)
        wait_until(f"the release API after the death of the {part}", lambda: _answers(watching_fleet))
    watching_fleet.agents[CLIENT].wait_until_up()
    pause(3)  # for the next look at it, and what a part that came back would tell anew
    assert titles() == [f"{shop.name} on {CLIENT}: process exit (app)"]

    shop.run_by_hand(CLIENT, "1.1")
    wait_until("news of its return", lambda: len(titles()) > 1 or None, timeout_s=120)
    for _ in range(2):  # what is judged after it may tell nothing anew
        before = reported()[0]["last_report"]
        wait_until("next report", lambda: reported()[0]["last_report"] > before)  # noqa: B023 (it is called at once)
    assert titles() == [
        f"{shop.name} on {CLIENT}: process exit (app)",
        f"resolved: {shop.name} on {CLIENT}: process exit (app)",
    ]
    assert told_of_exit(watching_fleet) == [("firing", "ops"), ("resolved", "ops")]


def told_of_exit(fleet):
    """What is collected for the next message, too."""
    database = open_database(fleet.database_url)
    try:
        return told(database, "process_exit")
    finally:
        database.close()


def _answers(fleet):
    try:
        return fleet.api.get("/alerts") is not None or None
    except (ApiProblem, httpx.TransportError):
        return None
