"""What container reports say of one project's containers on a client."""

from datetime import UTC, datetime, timedelta

import pytest

from agent.wire.containers import ContainerInfo
from tasks.decisions.container_watching import Limits, observe_containers

T0 = datetime(2030, 1, 1, tzinfo=UTC)


def box(name="boxes-1", id_="a", state="running", **fields):
    said = {"container_id": id_ * 64, "container_name": name, "image": "boxes:1", "status": "Up"}
    said |= {"state": state, "created_at": T0, "started_at": T0, "restart_count": 0}
    return ContainerInfo.model_validate({**said, **fields})


def deployed(*arguments, **fields):
    return box(*arguments, project_id="boxes", client_id="c1", **fields)


def holding(*reports, limits=None, live=(), firing=(), deploying=False):
    """The conditions that hold at the last of these reports, as (type, name)."""
    memory = {}
    for report in reports:
        observed, memory = observe_containers(
            report,
            memory,
            limits or Limits(),
            live_stops=set(live),
            firing_stops=set(firing),
            deploying=deploying,
        )
    return {(one.type.removeprefix("container_"), one.subject) for one in observed if one.holds}


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        pytest.param([[box()], [box()]], set(), id="the same"),
        pytest.param([[box()], [box(state="exited", exit_code=137)]], {("stopped", "boxes-1")}, id="stopped"),
        pytest.param([[box()], []], {("stopped", "boxes-1")}, id="removed"),
        pytest.param([[box(state="exited")]], set(), id="never seen running"),
        pytest.param([[box()], [box(state="paused")]], set(), id="paused"),
        pytest.param([[box()], [box(id_="b")]], set(), id="another of its name"),
        pytest.param([[deployed()], [deployed("boxes-2", "b")]], set(), id="the next deployment's"),
        pytest.param([[box()], [box("boxes-2", "b")]], {("stopped", "boxes-1")}, id="somebody else's"),
        pytest.param([[box()], [box(restart_count=1)]], {("restarted", "boxes-1")}, id="counted restart"),
        pytest.param(
            [[box()], [box(started_at=T0 + timedelta(hours=1))]],
            {("restarted", "boxes-1")},
            id="started anew",
        ),
        pytest.param(
            [[box()], [box(started_at=T0 - timedelta(hours=1))]], set(), id="a clock that went back"
        ),
        pytest.param([[box(restart_count=5)]], set(), id="old restarts of one that is new to us"),
        pytest.param(
            [[box(restart_count=5)], [box(restart_count=None)]], set(), id="restarts not counted once"
        ),
        pytest.param([[box(health="unhealthy")]], {("unhealthy", "boxes-1")}, id="ill"),
        pytest.param([[box(health="unhealthy", state="exited")]], set(), id="was ill, doesn't run"),
    ],
)
def test_named_outcomes(reports, expected):
    assert holding(*reports) == expected


def test_stop_that_is_known_goes_on_though_the_last_look_did_not_see_it_run():
    stopped = [box(state="exited")]
    assert holding([box()], stopped, stopped, live={"boxes-1"}) == {("stopped", "boxes-1")}


def test_return_of_what_people_know_is_stopped_is_no_restart():
    assert holding([box()], [box(state="exited")], [box(restart_count=1)], firing={"boxes-1"}) == set()


def test_deploy_task_at_work_leaves_all_but_loads_unjudged():
    limits = Limits(cpu=50)
    gone_and_loaded = [box(id_="b", name="boxes-2", cpu_percent=90, health="unhealthy")]
    found = holding([box()], gone_and_loaded, limits=limits, deploying=True)
    assert found == {("cpu_high", "boxes-2")}


def test_loads_are_of_what_runs():
    limits = Limits(cpu=50, memory=80)
    loads = {"cpu_percent": 60.0, "memory_percent": 81.0}
    assert holding([box(**loads)], limits=limits) == {("cpu_high", "boxes-1"), ("memory_high", "boxes-1")}
    assert holding([box(state="exited", **loads)], limits=limits) == set()
