"""What is said to a deploy task by the command line, and freezes."""

import pytest

from db.documents.hold import HoldState
from db.models import DeployTask, utc_now
from tasks.planning.lease import acquire_leases
from tests.builders import create_fleet


@pytest.fixture
def task(served, hoist, operator):
    with served.database.write() as session:
        create_fleet(session, {"a": "1.4", "b": "1.4"})
    hoist("plan", "shop", "1.5")
    return operator.get("/release/tasks?limit=1").json()[0]["id"]


def wait_for(served, task, kind):
    """A run is at work, and waits for this."""
    with served.database.write() as session:
        row = session.get_one(DeployTask, task)
        acquire_leases(session, row, "run-1", utc_now())
        row.status = "canary" if kind == "canary" else "paused"
        row.hold = HoldState(kind=kind, wave=1, reason="the canary is done", since=utc_now())


def test_canary_is_promoted(hoist, served, task):
    wait_for(served, task, "canary")
    watched = hoist("watch", task, code=5)
    assert "waits: the canary is done" in watched.err
    assert f"hoist promote {task}" in watched.err
    assert "goes on" in hoist("promote", task, "--comment", "fine").out
    assert hoist("status", task, "--json").json["promoted_waves"] == 1


def test_wrong_word_is_refused_and_the_right_one_named(hoist, served, task):
    wait_for(served, task, "canary")
    assert "promote it" in hoist("resume", task, code=3).err
    assert "asks for no approval" in hoist("approve", task, code=3).err
    assert "no client has what it brought" in hoist("undo", task, code=3).err


def test_pause_and_resume(hoist, served, task):
    wait_for(served, task, "operator")
    assert hoist("pause", task, "--json").json["paused_by"] == "operator"
    assert hoist("resume", task, "--json").json["paused_by"] is None


def test_freeze_is_added_listed_and_lifted(hoist, task):
    made = hoist(
        "freeze", "add", "black friday", "--project", "shop", "--until", "2100-01-01T00:00:00Z", "--json"
    ).json
    assert "black friday" in hoist("freeze", "list").out
    assert "black friday" in hoist("start", task, code=3).err
    hoist("freeze", "lift", made["id"])
    assert "nothing is frozen" in (ended := hoist("freeze", "list")).out + ended.err
    hoist("freeze", "lift", made["id"], code=3)


def test_who_watches_what_a_freeze_holds_is_told_that_it_goes_on_by_itself(hoist, served, task):
    wait_for(served, task, "freeze")
    said = hoist("watch", task, code=5).err
    assert "it goes on by itself once the freeze is over, see: hoist freeze list" in said
    assert "hoist start" not in said


def test_options_of_a_careful_rollout_are_in_the_request(hoist, operator, task):
    for client in ("a", "b"):
        hoist("client", "change", client, "--label", f"rack={client}")
    hoist(
        *(
            "plan",
            "shop",
            "1.5",
            "--canary",
            5,
            "--canary-duration",
            600,
            "--auto-promote",
            "--pause-after",
            "2",
        ),
        *("--on-failure", "pause", "--auto-rollback", "failed", "--spread-by", "rack", "--offline", "skip"),
        *(
            "--max-failures-per-wave",
            "50%",
            "--at",
            "2100-01-01T00:00:00Z",
            "--not-after",
            "2100-01-02T00:00:00Z",
        ),
    )
    made = operator.get("/release/tasks?limit=1").json()[0]
    strategy = made["strategy"]
    assert (strategy["canary_percent"], strategy["canary_duration_s"], strategy["canary_auto_promote"]) == (
        5,
        600,
        True,
    )
    assert (strategy["pause_after"], strategy["spread_by"], strategy["offline"]) == ([2], "rack", "skip")
    assert strategy["max_failures_per_wave"] == "50%"
    assert (made["failure_strategy"], made["auto_rollback"], made["status"]) == (
        "pause",
        "failed",
        "scheduled",
    )
    assert made["schedule_to"] == "2100-01-02T00:00:00Z"
