from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from agent.wire.containers import ContainerInfo
from tasks.decisions.container_watching import Known, Limits, observe_containers

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


def info(container_id: str, name: str = "shop-1", state: str = "running", **fields) -> ContainerInfo:
    values = {"image": "shop:1.5", "status": state, "created_at": NOW, "started_at": NOW, "restart_count": 0}
    return ContainerInfo(container_id=container_id, container_name=name, state=state, **values | fields)


def known(container_id: str, name: str = "shop-1", *, running: bool = True, deployed: bool = False) -> Known:
    return Known(container_id, name, running, 0, NOW, deployed)


def holding(containers, memory, **more) -> set[tuple[str, str]]:
    flags = {"live_stops": set(), "firing_stops": set(), "deploying": False} | more
    observed, _ = observe_containers(containers, {one.container_id: one for one in memory}, Limits(), **flags)
    return {one.key for one in observed if one.holds}


def test_container_that_ran_and_does_not_is_missed():
    assert holding([info("a", state="exited")], [known("a")]) == {("container_stopped", "shop-1")}
    assert holding([], [known("a")]) == {("container_stopped", "shop-1")}
    assert holding([info("a")], [known("a")]) == set()
    assert holding([], [known("a", running=False)]) == set()


def test_one_whose_place_another_has_taken_is_not_missed():
    assert holding([info("b")], [known("a")]) == set()
    assert holding([info("b", "shop-2")], [known("a")]) == {("container_stopped", "shop-1")}
    deployed = info("b", "shop-2", project_id="p")
    assert holding([deployed], [known("a", deployed=True)]) == set()


def test_nothing_is_judged_while_it_is_deployed():
    assert holding([], [known("a")], deploying=True) == set()


def test_restart_is_one_whether_it_is_counted_or_seen():
    assert holding([info("a", restart_count=1)], [known("a")]) == {("container_restarted", "shop-1")}
    later = info("a", started_at=NOW + timedelta(seconds=1))
    assert holding([later], [known("a")]) == {("container_restarted", "shop-1")}


def test_what_a_cut_report_leaves_out_is_neither_missed_nor_forgotten():
    memory = {"a": known("a"), "b": known("b", "shop-2")}
    observed, kept = observe_containers(
        [info("b", "shop-2")],
        memory,
        Limits(),
        live_stops=set(),
        firing_stops=set(),
        deploying=False,
        truncated=True,
    )
    assert not any(one.holds for one in observed)
    assert [one.holds for one in observed if one.key == ("container_stopped", "shop-1")] == [None]
    assert kept.keys() == {"a", "b"}


NAMES = st.sampled_from(["shop-1", "shop-2", "shop-3"])
CONTAINERS = st.lists(
    st.tuples(NAMES, st.sampled_from(["running", "exited"]), st.sampled_from([None, "p"])), max_size=6
)
MEMORY = st.lists(st.tuples(st.integers(0, 8), NAMES, st.booleans(), st.booleans()), max_size=6)


@given(CONTAINERS, MEMORY)
def test_who_is_missed_is_as_looking_at_each_pair_says(found, remembered):
    containers = [
        info(f"id{number}", name, state, project_id=project)
        for number, (name, state, project) in enumerate(found)
    ]
    memory = {
        f"id{number}": known(f"id{number}", name, running=running, deployed=deployed)
        for number, name, running, deployed in remembered
    }
    here = {one.container_id: one for one in containers}
    missed = set()
    for container_id, before in memory.items():
        now = here.get(container_id)
        name = now.container_name if now else before.name
        replaced = any(
            other.container_id != container_id
            and other.state == "running"
            and (other.container_name == name or (before.deployed and other.project_id is not None))
            for other in containers
        )
        if before.running and not replaced and (now is None or now.state != "running"):
            missed.add(("container_stopped", name))
    assert {key for key in holding(containers, memory.values()) if key[0] == "container_stopped"} == missed
