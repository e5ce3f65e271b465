"""What proves a Kubernetes deployment: its Deployment's pods, ready, with its image, without a restart, for long enough."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agent.naming import NamingError
from agent.wire.executions import DeployedKubernetes
from agent.wire.naming import ContainerNaming
from agent.wire.pods import PodContainer, PodInfo
from db.documents.kubernetes_config import ProjectKubernetes
from tasks.decisions.deployment_names import deployment_name, naming_fault
from tasks.decisions.evidence import Reason, Seen, Wanted, evidence_of, judge
from tasks.decisions.pod_evidence import pods_of

BEGAN = datetime(2030, 1, 1, 12, tzinfo=UTC)
DEPLOYED = DeployedKubernetes(
    namespace="shop", deployment="shop-prod", container="app", image="r.example/shop:1.5", replicas=2, ready=2
)
WANTED = Wanted(
    "1.5", "update", stable_for_s=30, execution_started_at=BEGAN, kubernetes=DEPLOYED, is_kubernetes=True
)


def _pod(number=1, mark="abc", image="r.example/shop:1.5", **values) -> PodInfo:
    app = PodContainer(name="app", image=image, ready=True, state="running")
    side = PodContainer(name="side", image="proxy:7", ready=True, state="running")
    seen = {"namespace": "shop", "phase": "Running", "ready": True, "labels": {"pod-template-hash": mark}}
    name = f"shop-prod-{mark}-{number}"
    return PodInfo(**{"name": name, "uid": f"u{number}", "containers": (app, side), **seen, **values})


def _seen(*pods, after_s=0.0) -> Seen:
    return Seen(at=BEGAN + timedelta(seconds=after_s), pods=pods)


def _reason(*pods, wanted=WANTED):
    verdict = judge(wanted, None, _seen(*pods), BEGAN)
    return verdict.reason, verdict.retry


def test_held_after_it_was_stable():
    first, now = _seen(_pod(1), _pod(2)), _seen(_pod(1), _pod(2), after_s=31)
    assert judge(WANTED, None, first, first.at).reason is Reason.TOO_EARLY
    assert judge(WANTED, first, now, first.at + timedelta(seconds=29)).reason is Reason.TOO_EARLY
    verdict = judge(WANTED, first, now, now.at)
    assert (verdict.reason, verdict.held) == (Reason.HELD, True)
    assert verdict.detail.startswith("2 pods of shop-prod are ready with r.example/shop:1.5")
    kept = evidence_of(WANTED, first, now, verdict, now.at)
    assert kept.pods == now.pods
    assert not kept.version_proven


@pytest.mark.parametrize(
    ("pods", "reason", "retry"),
    [
        ((), Reason.NO_POD, True),
        ((_pod(1),), Reason.POD_NOT_READY, True),
        ((_pod(1), _pod(2, ready=False)), Reason.POD_NOT_READY, True),
        ((_pod(1), _pod(2), _pod(3, mark="old")), Reason.OTHER_REVISION, True),
        ((_pod(1), _pod(2, image="r.example/shop:1.4")), Reason.WRONG_IMAGE, False),
    ],
)
def test_what_proves_nothing(pods, reason, retry):
    assert _reason(*pods) == (reason, retry)


@pytest.mark.parametrize(
    "image", ["r.example/shop:1.5", "shop:1.5", "docker.io/library/shop:1.5", "sha256:abc", "shop@sha256:abc"]
)
def test_image_is_the_same_however_the_node_calls_it(image):
    assert _reason(_pod(1, image=image), _pod(2)) == (Reason.TOO_EARLY, True)


def test_restart_after_it_held_is_final_and_one_from_before_is_none():
    first = _seen(_pod(1, restart_count=4), _pod(2))
    same = _seen(_pod(1, restart_count=4), _pod(2), after_s=31)
    assert judge(WANTED, first, same, same.at).held
    anew = _seen(_pod(1, restart_count=5), _pod(2), after_s=31)
    verdict = judge(WANTED, first, anew, anew.at)
    assert (verdict.reason, verdict.retry) == (Reason.POD_RESTARTED, False)


def test_pods_that_the_cluster_moves_are_none_that_restarted():
    first, now = _seen(_pod(1), _pod(2)), _seen(_pod(2), _pod(3), after_s=31)
    assert judge(WANTED, first, now, now.at).held


def test_agent_that_says_nothing_proves_nothing():
    assert _reason(_pod(1), _pod(2), wanted=replace(WANTED, kubernetes=None)) == (Reason.NO_POD, False)


def test_only_the_deployment_s_own_living_pods_count():
    others = (
        _pod(3, name="shop-prod-api-abc-1"),
        _pod(4, name="shop-prod-by-hand", labels={}),
        _pod(5, phase="Succeeded"),
        _pod(6, phase="Failed"),
        _pod(7, reason="Terminating"),
    )
    assert pods_of("shop-prod", (_pod(1), *others)) == (_pod(1),)


@pytest.mark.parametrize(
    ("length", "end"),
    [(46, "-86c94b674d-"), (47, "-86c94b674d"), (48, "-86c94b674"), (57, "-"), (58, ""), (63, ""), (100, "")],
)
def test_pods_of_a_deployment_with_a_long_name_are_known_by_what_the_cluster_leaves_of_it(length, end):
    deployment = "s" * length
    own = _pod(name=f"{deployment[:58]}{end}x4k2z", mark="86c94b674d")
    other = _pod(name=f"{'t' * 40}-86c94b674d-x4k2z", mark="86c94b674d")
    assert pods_of(deployment, (own, other)) == (own,)


def test_uninstall_holds_once_no_pod_is_left():
    wanted = replace(WANTED, operation="uninstall", kubernetes=None)
    assert judge(wanted, None, _seen(_pod(1)), BEGAN).reason is Reason.STILL_RUNNING
    gone = _seen(after_s=31)
    assert judge(wanted, _seen(), gone, gone.at).held


@pytest.mark.parametrize(
    ("naming", "name"),
    [
        ({"prefix": "shop"}, "shop-prod-eu"),
        ({"prefix": "shop", "include_env": False}, "shop"),
        ({"prefix": "shop", "template": "${PREFIX}-web-${ENV}"}, "shop-web-prod-eu"),
    ],
)
def test_deployment_is_called_by_prefix_and_environment(naming, name):
    made = ContainerNaming(**naming)
    assert naming_fault(made) is None
    assert deployment_name(ProjectKubernetes(), made, "Prod EU") == name
    assert deployment_name(ProjectKubernetes(deployment="web"), made, "Prod EU") == "web"


def test_without_any_name_there_is_none():
    with pytest.raises(NamingError, match="neither"):
        deployment_name(ProjectKubernetes(), None, "prod")
