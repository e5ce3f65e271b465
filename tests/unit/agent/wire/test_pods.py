"""Pods on the wire: what is refused, and what an older agent says."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from agent.monitors.reports import encode_pod_report, make_pod_report
from agent.wire.info import AgentInfo
from agent.wire.pods import (
    CollectedPods,
    KubernetesDeployRequest,
    PodCollectRequest,
    PodInfo,
    PodReport,
)

AT = datetime(2030, 1, 2, tzinfo=UTC)
REQUEST = {
    "execution_id": "e1",
    "project_id": "shop",
    "version": "1.5",
    "kubernetes_config": {"deployment": "web", "image": "registry.example:5000/shop:1.5"},
}


def pod(name="web-1", **more):
    own = {"namespace": "shop", "uid": name, "phase": "Running", "ready": True}
    return PodInfo.model_validate({"name": name, **own, **more})


def test_older_agents_say_only_that_there_is_no_kubernetes():
    recorded = json.loads((Path(__file__).parent / "recorded" / "info.json").read_text())
    assert AgentInfo.model_validate({**recorded, "kubernetes": False}).kubernetes is None
    assert AgentInfo.model_validate({**recorded, "kubernetes": "v1.20.2"}).kubernetes == "v1.20.2"


def test_deploy_request_has_defaults():
    request = KubernetesDeployRequest.model_validate(REQUEST)
    config = request.kubernetes_config
    assert (config.namespace, config.container, config.replicas) == ("default", None, None)
    assert (request.operation, request.timeout_s, request.progress_deadline_s) == ("deploy", 900, None)


@pytest.mark.parametrize(
    "config",
    [
        {"deployment": "web"},
        {"deployment": "Web", "image": "shop:1"},
        {"deployment": "web/../other", "image": "shop:1"},
        {"deployment": "web", "image": "shop:1", "namespace": "a.b"},
        {"deployment": "web", "image": "-shop"},
        {"deployment": "web", "image": "shop:1", "container": "a b"},
        {"deployment": "web", "image": "shop:1", "replicas": 0},
        {"deployment": "web", "image": "shop:1", "strategy": "x"},
    ],
)
def test_deploy_request_is_refused(config):
    with pytest.raises(ValidationError):
        KubernetesDeployRequest.model_validate({**REQUEST, "kubernetes_config": config})


def test_uninstall_needs_no_image():
    KubernetesDeployRequest.model_validate(
        {**REQUEST, "operation": "uninstall", "kubernetes_config": {"deployment": "web"}}
    )


@pytest.mark.parametrize(
    "selection",
    [{"namespace": "a/b"}, {"namespace": ""}, {"label_selector": ""}, {"label_selector": "a\x00b"}],
)
def test_selection_is_refused(selection):
    with pytest.raises(ValidationError):
        PodCollectRequest.model_validate(selection)


def test_report_that_is_too_large_leaves_out_what_is_finished_first_and_says_so():
    pods = (
        pod("done", phase="Succeeded", ready=False),
        pod("well"),
        pod("ill", ready=False, reason="CrashLoopBackOff"),
    )
    report = make_pod_report(
        CollectedPods(pods=pods), PodCollectRequest(namespace="shop"), client_id="web-1", at=AT
    )
    whole = PodReport.model_validate_json(encode_pod_report(report))
    assert ([one.name for one in whole.pods], whole.truncated) == (["done", "well", "ill"], False)
    assert (whole.namespace, whole.label_selector) == ("shop", None)
    less = PodReport.model_validate_json(encode_pod_report(report, len(encode_pod_report(report)) - 1))
    assert ({one.name for one in less.pods}, less.truncated) == ({"well", "ill"}, True)
    least = PodReport.model_validate_json(encode_pod_report(report, 400))
    assert ({one.name for one in least.pods}, least.truncated) == ({"ill"}, True)


def test_report_with_a_nul_is_refused():
    with pytest.raises(ValidationError, match="NUL"):
        PodReport(client_id="web-1", pods=(pod(reason="a\x00b"),), reported_at=AT)
