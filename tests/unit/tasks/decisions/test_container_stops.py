"""How long a container that ran is missed: once it is removed, and over deploy tasks that leave something or nothing."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.wire.containers import ContainerInfo
from tasks.decisions.container_watching import Limits, observe_containers

T0 = datetime(2030, 1, 1, tzinfo=UTC)


def box(name="shop-1", state="running", **fields):
    """A container that somebody started by hand; its name is its id."""
    said = {"container_id": name, "container_name": name, "image": "shop:1", "status": "Up"}
    said |= {"state": state, "created_at": T0, "started_at": T0, "restart_count": 0}
    return ContainerInfo.model_validate({**said, **fields})


def ours(name="shop-1", state="running"):
    """One that Hoist put there."""
    return box(name, state, project_id="shop", client_id="c1")


@dataclass(frozen=True)
class Look:
    """A report, and what goes on meanwhile."""

    containers: tuple[ContainerInfo, ...] = ()
    deploying: bool = False
    installed: bool = True


def look(*containers):
    return Look(containers)


def deploying(*containers):
    return Look(containers, deploying=True)


def uninstalled(*containers):
    return Look(containers, installed=False)


def stops(*looks):
    """Whose stop waits or fires after these looks: what is not judged stays, what is not observed any more ends."""
    memory, live = {}, set()
    for one in looks:
        observed, memory = observe_containers(
            one.containers,
            memory,
            Limits(),
            live_stops=live,
            firing_stops=live,
            deploying=one.deploying,
            installed=one.installed,
        )
        said = {each.subject: each.holds for each in observed if each.type == "container_stopped"}
        live = {name for name, holds in said.items() if holds or (holds is None and name in live)}
    return live


GONE = look()
STOPPED = ours(state="exited")


@pytest.mark.parametrize("container", [box(), ours()], ids=["somebody's", "Hoist's"])
def test_removed_container_is_missed_for_as_long_as_nothing_serves(container):
    gone = [look(container), GONE]
    assert stops(*gone) == stops(*gone, GONE) == stops(*gone, GONE, GONE) == {"shop-1"}
    assert stops(*gone, GONE, look(ours("shop-2"))) == set(), "a newer one of the project's"
    assert stops(*gone, GONE, look(box(container_id="anew"))) == set(), "another of its name"
    assert stops(*gone, GONE, look(container)) == set(), "it is back"
    assert stops(*gone, GONE, uninstalled()) == set()


def test_stopped_container_that_is_then_removed_is_missed_on():
    assert stops(look(ours()), look(STOPPED), GONE, GONE) == {"shop-1"}


def test_removed_container_of_what_is_not_installed_is_forgotten():
    assert stops(uninstalled(box()), uninstalled()) == {"shop-1"}
    assert stops(uninstalled(box()), uninstalled(), uninstalled()) == set()


def test_somebody_s_that_is_gone_beside_hoist_s_own_is_told_and_forgotten():
    beside = [look(ours(), box("shop-job")), look(ours())]
    assert stops(*beside) == {"shop-job"}
    assert stops(*beside, look(ours())) == set()


NEW = ours("shop-2")
FAILED = ours("shop-2", "exited")


@pytest.mark.parametrize(
    ("during", "after", "missed"),
    [
        pytest.param([[STOPPED]], [STOPPED], {"shop-1"}, id="stopped, and never started again"),
        pytest.param([[STOPPED], [STOPPED]], [STOPPED], {"shop-1"}, id="the same, seen twice"),
        pytest.param([[]], [], {"shop-1"}, id="removed"),
        pytest.param([[STOPPED], []], [], {"shop-1"}, id="stopped and removed"),
        pytest.param([], [STOPPED], {"shop-1"}, id="not looked at meanwhile"),
        pytest.param(
            [[STOPPED, ours("shop-2", "created")], [STOPPED, FAILED]],
            [STOPPED],
            {"shop-1"},
            id="the new one never ran",
        ),
        pytest.param(
            [[STOPPED, NEW], [STOPPED, FAILED]], [STOPPED, FAILED], {"shop-2"}, id="the new one took over"
        ),
        pytest.param([[STOPPED, NEW], [NEW], []], [], {"shop-2"}, id="it took over, and was removed"),
    ],
)
def test_deployment_that_leaves_nothing_serving_leaves_a_stop(during, after, missed):
    looks = [look(ours()), *(deploying(*one) for one in during)]
    assert stops(*looks) == set(), "not while it is at work"
    assert stops(*looks, look(*after)) == stops(*looks, look(*after), look(*after)) == missed


@pytest.mark.parametrize(
    ("during", "after"),
    [
        pytest.param([[ours(), NEW], [STOPPED, NEW]], [STOPPED, NEW], id="side by side, the old one is kept"),
        pytest.param([[STOPPED], [STOPPED, NEW]], [STOPPED, NEW], id="one after the other"),
        pytest.param([[STOPPED]], [STOPPED, NEW], id="the new one was not seen meanwhile"),
        pytest.param([[STOPPED], [STOPPED, NEW], [NEW]], [NEW], id="the old one is pruned"),
        pytest.param([[STOPPED], []], [NEW], id="gone before the new one was seen"),
        pytest.param(
            [[STOPPED]],
            [ours("was-shop-1", "exited").model_copy(update={"container_id": "shop-1"}), NEW],
            id="the old one is renamed",
        ),
        pytest.param(
            [[STOPPED], [STOPPED, NEW], [STOPPED, FAILED]], [ours()], id="it failed, the old one serves again"
        ),
        pytest.param([[ours(), NEW], [ours(), FAILED]], [ours()], id="it failed beside the old one"),
    ],
)
def test_deployment_after_which_something_serves_raises_nothing(during, after):
    looks = [look(ours()), *(deploying(*one) for one in during)]
    assert stops(*looks) == stops(*looks, look(*after)) == stops(*looks, look(*after), look(*after)) == set()


def test_first_deployment_that_takes_over_from_somebody_s_raises_nothing():
    stopped = box(state="exited")
    looks = [look(box()), deploying(stopped), deploying(stopped, NEW)]
    assert stops(*looks, look(stopped, NEW)) == set()
    assert stops(*looks, deploying(NEW), look(NEW)) == set()
    assert stops(look(box()), deploying(stopped), look(stopped)) == {"shop-1"}, "it was stopped for nothing"


OLD = box(state="exited")
OTHER = box("shop-2")


@pytest.mark.parametrize("new", [OTHER, NEW], ids=["a script's", "Hoist's"])
@pytest.mark.parametrize(
    ("during", "kept"),
    [
        pytest.param([[OLD]], [OLD], id="the new one was not seen meanwhile"),
        pytest.param([[OLD], []], [], id="nor was the old one, it is removed"),
        pytest.param([[OLD], [OLD, None]], [OLD], id="one after the other"),
        pytest.param([[box(), None], [OLD, None]], [OLD], id="side by side, the old one is kept"),
        pytest.param([[box(), None], [None]], [], id="side by side, the old one is removed"),
        pytest.param([[box(), box("shop-migrate")], [box(), None]], [box()], id="a job of its own has ended"),
    ],
)
def test_deployment_that_replaces_somebody_s_under_another_name_raises_nothing(new, during, kept):
    looks = [look(box()), *(deploying(*(one or new for one in each)) for each in during)]
    after = look(*kept, new)
    assert stops(*looks) == stops(*looks, after) == stops(*looks, after, after) == set()


@pytest.mark.parametrize("left", [[OLD], []], ids=["stopped", "removed"])
def test_somebody_s_that_a_deployment_left_dead_is_missed_until_the_project_runs_again(left):
    failed = [look(box()), deploying(*left), deploying(*left), look(*left), look(*left)]
    assert stops(*failed) == {"shop-1"}
    assert stops(*failed, deploying(*left), look(*left)) == {"shop-1"}, "another deployment failed"
    assert stops(*failed, look(*left, OTHER)) == set(), "it is repaired by hand"
    assert stops(*failed, deploying(*left, OTHER), look(*left, OTHER)) == set()
    again = [*failed, look(box(), OTHER)]
    assert stops(*again, look(*left, OTHER)) == {"shop-1"}, "it ran again, and ended by itself"


@pytest.mark.parametrize("left", [[OLD], []], ids=["stopped", "removed"])
def test_somebody_s_that_ends_beside_another_outside_a_deployment_is_missed(left):
    beside = [look(box(), OTHER), look(*left, OTHER)]
    assert stops(*beside) == stops(*beside, look(*left, OTHER)) == {"shop-1"}
    assert stops(*beside, deploying(*left, OTHER), look(*left, OTHER)) == {"shop-1"}, "it is not mended"
    deployed = [deploying(box(), OTHER), look(box(), OTHER)]
    assert stops(look(box()), *deployed, look(*left, OTHER)) == {"shop-1"}


def test_hoist_s_that_a_deployment_left_dead_is_missed_whatever_somebody_runs():
    looks = [look(ours()), deploying(STOPPED, OTHER)]
    assert stops(*looks, look(STOPPED, OTHER)) == stops(*looks, look(OTHER)) == {"shop-1"}


@pytest.mark.parametrize("during", [[[]], [[STOPPED], []], [[STOPPED]], []])
def test_successful_uninstall_raises_nothing(during):
    looks = [look(ours()), *(deploying(*one) for one in during), uninstalled()]
    assert stops(*looks) == stops(*looks, uninstalled()) == set()


def test_stop_that_was_known_before_a_deployment_ends_with_it_or_goes_on():
    failed = [look(ours()), look(STOPPED), deploying(STOPPED), deploying()]
    assert stops(*failed) == stops(*failed, GONE) == {"shop-1"}
    assert stops(*failed, deploying(NEW), look(NEW)) == set()


NAMES = ("shop-1", "shop-2", "shop-3")
STATES = st.sampled_from(["running", "exited", "created", None])
HOISTS = st.tuples(STATES, STATES, STATES).map(
    lambda states: tuple(ours(name, state) for name, state in zip(NAMES, states, strict=True) if state)
)


@given(HOISTS.map(Look), st.lists(HOISTS.map(lambda them: Look(them, deploying=True))), HOISTS.map(Look))
def test_something_is_missed_after_a_deployment_where_and_only_where_nothing_serves(before, during, after):
    ran = any(one.state == "running" for each in (before, *during) for one in each.containers)
    serves = any(one.state == "running" for one in after.containers)
    missed = stops(before, *during, after)
    assert bool(missed) == (ran and not serves)
    assert bool(stops(before, *during, after, after)) == bool(missed)
    assert stops(before, *during, replace(after, containers=(), installed=False)) == set()
