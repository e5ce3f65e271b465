"""`pod.collect` and `pod.report` over HTTP."""

from agent.endpoints import Call, Endpoint
from agent.pods.service import Pods
from agent.wire.pods import CollectedPods, PodCollectRequest, PodReported, PodReportRequest


def pod_endpoints(pods: Pods) -> list[Endpoint]:
    """What is asked about the cluster's pods: 503 where it doesn't answer, 403 where it forbids, 409 where there is none."""

    async def collect(call: Call) -> CollectedPods:
        return await pods.collect(call.body)

    async def report(call: Call) -> PodReported:
        return await pods.report(call.body)

    return [
        Endpoint(
            "POST",
            "/v1/commands/pod.collect",
            "pod.collect",
            collect,
            "The pods of a namespace, or of the whole cluster",
            answer=CollectedPods,
            request=PodCollectRequest,
        ),
        Endpoint(
            "POST",
            "/v1/commands/pod.report",
            "pod.report",
            report,
            "Collect the cluster's pods, and send them to the release API now",
            answer=PodReported,
            request=PodReportRequest,
        ),
    ]
