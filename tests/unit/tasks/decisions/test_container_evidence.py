"""What proves a container: the one that was deployed runs, with its image, without a restart, for long enough."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agent.wire.containers import ContainerInfo
from agent.wire.executions import DeployedContainer
from agent.wire.processes import ProcessInfo
from tasks.decisions.evidence import Reason, Seen, Wanted, evidence_of, judge

BEGAN = datetime(2030, 1, 1, 12, tzinfo=UTC)
DEPLOYED = DeployedContainer(
    container_id="c" * 64, container_name="shop-prod-2", image="shop:1.5", image_id="sha256:" + "1" * 64
)
WANTED = Wanted("1.5", "update", stable_for_s=30, execution_started_at=BEGAN, container=DEPLOYED)


def _container(**values) -> ContainerInfo:
    seen = {
        "container_id": DEPLOYED.container_id,
        "container_name": DEPLOYED.container_name,
        "image": DEPLOYED.image,
        "image_id": DEPLOYED.image_id,
        "state": "running",
        "created_at": BEGAN,
        "started_at": BEGAN,
        "restart_count": 0,
    }
    return ContainerInfo(**{**seen, **values})


def _seen(after_s: float, *containers: ContainerInfo, up_s: float = 0) -> Seen:
    """A look `after_s` seconds after the deployment began, by a client whose clock is an hour behind."""
    at = BEGAN + timedelta(seconds=after_s)
    return Seen(at, containers=containers, containers_at=BEGAN + timedelta(seconds=up_s))


def _judge(seen: Seen, first: Seen | None = None, wanted: Wanted = WANTED):
    return judge(wanted, first, seen, seen.at)


def test_what_served_before_a_rollback_that_changed_nothing_is_no_fault():
    """Its processes are older than the rollback, and it may have restarted before."""
    process = ProcessInfo(
        pid=1,
        name="app",
        start_time=BEGAN - timedelta(days=1),
        status="sleeping",
        matched_by="app",
        ppid=0,
        is_root=True,
    )
    seen = replace(_seen(31, _container(restart_count=3), up_s=86_400), processes=(process,))
    there = DEPLOYED.model_copy(update={"was_there": True, "restart_count": 3})
    wanted = replace(WANTED, operation="rollback", rules=("app",), container=there)
    assert _judge(seen, replace(seen, at=BEGAN), wanted).reason is Reason.HELD
    anew = replace(wanted, container=DEPLOYED.model_copy(update={"restart_count": 3}))
    assert _judge(seen, replace(seen, at=BEGAN), anew).reason is Reason.NOT_RESTARTED
    again = replace(seen, containers=(_container(restart_count=4),))
    assert _judge(again, seen, wanted).reason is Reason.CONTAINER_RESTARTED


def test_container_that_runs_long_enough_by_its_own_hosts_clock_is_held_at_the_first_look():
    assert _judge(_seen(5, _container(), up_s=29)).reason is Reason.TOO_EARLY
    seen = _seen(5, _container(), up_s=30)
    verdict = _judge(seen)
    assert (verdict.reason, verdict.held) == (Reason.HELD, True)
    assert "shop-prod-2 runs sha256:1111" in verdict.detail
    assert "not proven" in verdict.detail
    kept = evidence_of(WANTED, None, seen, verdict, seen.at)
    assert (kept.stable_for_s, kept.version_proven, len(kept.containers)) == (30.0, False, 1)


def test_processes_of_a_container_are_watched_from_the_first_look_on():
    wanted = replace(WANTED, rules=("app",))
    assert _judge(_seen(5, _container(), up_s=300), wanted=wanted).reason is Reason.NO_PROCESS


@pytest.mark.parametrize(
    ("container", "reason", "retry"),
    [
        (None, Reason.NO_CONTAINER, True),
        (_container(container_id="d" * 64), Reason.NO_CONTAINER, True),
        (_container(state="exited", exit_code=3), Reason.CONTAINER_NOT_RUNNING, True),
        (_container(image_id="sha256:2"), Reason.WRONG_IMAGE, False),
        (_container(restart_count=1), Reason.CONTAINER_RESTARTED, False),
        (_container(health="starting"), Reason.CONTAINER_UNHEALTHY, True),
        (_container(health="unhealthy"), Reason.CONTAINER_UNHEALTHY, True),
    ],
)
def test_container_that_proves_nothing(container: ContainerInfo | None, reason: Reason, retry: bool):
    verdict = _judge(_seen(60, *([container] if container else []), up_s=60))
    assert (verdict.reason, verdict.held, verdict.retry) == (reason, False, retry)


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (_container(started_at=BEGAN + timedelta(seconds=9)), Reason.CONTAINER_RESTARTED),
        (_container(state="exited"), Reason.CONTAINER_RESTARTED),
        (None, Reason.NO_CONTAINER),
    ],
)
def test_container_that_ends_after_it_had_held_is_final(now: ContainerInfo | None, reason: Reason):
    first = _seen(5, _container(), up_s=5)
    verdict = _judge(_seen(40, *([now] if now else []), up_s=40), first)
    assert (verdict.reason, verdict.held, verdict.retry) == (reason, False, False)


def test_nothing_may_be_left_after_an_uninstall():
    wanted = replace(WANTED, operation="uninstall", container=None)
    assert _judge(_seen(5, _container()), wanted=wanted).reason is Reason.STILL_RUNNING
    assert _judge(_seen(5), wanted=wanted).reason is Reason.TOO_EARLY
    assert _judge(_seen(35), _seen(5), wanted=wanted).held


def test_deployment_that_names_no_container_proves_nothing():
    wanted = replace(WANTED, container=None, is_container=True)
    for source in ("processes", "exit_code"):
        verdict = judge(replace(wanted, source=source), None, Seen(at=BEGAN), BEGAN)
        assert (verdict.reason, verdict.held, verdict.retry) == (Reason.NO_CONTAINER, False, False)
