"""Makes the report that goes to the release API out of what was collected, within the size it accepts."""

import uuid
from datetime import datetime

from agent.wire.containers import CollectedContainers, ContainerReport
from agent.wire.pods import CollectedPods, PodCollectRequest, PodReport
from agent.wire.processes import Collected, ProcessReport

MAX_REPORT_BYTES = 7 * 1024 * 1024
"""The release API refuses bodies over 8 MiB."""

_SHORT_CMDLINE_CHARACTERS = 200


def make_report(
    collected: Collected,
    *,
    client_id: str,
    project_id: str,
    version: str,
    release_id: str | None,
    observed_version: str | None,
    at: datetime,
    dropped: int = 0,
) -> ProcessReport:
    """A report with an id of its own, which makes a repeat the same report. `dropped`: of its stream, so far."""
    return ProcessReport(
        client_id=client_id,
        project_id=project_id,
        version=version,
        processes=collected.processes,
        reported_at=at,
        release_id=release_id,
        unmatched_rules=collected.unmatched_rules,
        observed_version=observed_version,
        report_id=uuid.uuid4().hex,
        dropped_reports=dropped or None,
    )


def make_container_report(
    collected: CollectedContainers, *, client_id: str, at: datetime, dropped: int = 0
) -> ContainerReport:
    """A report with an id of its own, which makes a repeat the same report. `dropped`: of its stream, so far."""
    return ContainerReport(
        client_id=client_id,
        docker_version=collected.docker_version,
        containers=collected.containers,
        truncated=collected.truncated,
        reported_at=at,
        report_id=uuid.uuid4().hex,
        dropped_reports=dropped or None,
    )


def encode_container_report(report: ContainerReport, limit: int = MAX_REPORT_BYTES) -> bytes:
    """The report as JSON of at most `limit` bytes: those that don't run are left out first; it says so (`truncated`)."""
    containers = sorted(report.containers, key=lambda one: one.state == "running")
    while True:
        left_out = report.truncated or len(containers) < len(report.containers)
        kept = report.model_copy(update={"containers": tuple(containers), "truncated": left_out})
        body = kept.model_dump_json(exclude_none=True).encode()
        if len(body) <= limit or not containers:
            return body
        containers = containers[max(1, len(containers) // 4) :]


def make_pod_report(
    collected: CollectedPods, selection: PodCollectRequest, *, client_id: str, at: datetime, dropped: int = 0
) -> PodReport:
    """A report with an id of its own, which makes a repeat the same report. `dropped`: of its stream, so far."""
    return PodReport(
        client_id=client_id,
        pods=collected.pods,
        reported_at=at,
        report_id=uuid.uuid4().hex,
        namespace=selection.namespace,
        label_selector=selection.label_selector,
        truncated=collected.truncated,
        dropped_reports=dropped or None,
    )


def encode_pod_report(report: PodReport, limit: int = MAX_REPORT_BYTES) -> bytes:
    """The report as JSON of at most `limit` bytes: finished pods are left out first, then those that are ready."""
    pods = sorted(report.pods, key=lambda pod: (pod.phase != "Succeeded", not pod.ready))
    body = report.model_dump_json(exclude_none=True).encode()
    while len(body) > limit and pods:
        pods = pods[max(1, len(pods) // 4) :]
        kept = report.model_copy(update={"pods": tuple(pods), "truncated": True})
        body = kept.model_dump_json(exclude_none=True).encode()
    return body


def encode_report(report: ProcessReport, limit: int = MAX_REPORT_BYTES) -> bytes:
    """The report as JSON of at most `limit` bytes: long command lines are shortened first, then processes left out."""
    body = report.model_dump_json(exclude_none=True).encode()
    if len(body) <= limit:
        return body
    shortened = tuple(
        process.model_copy(update={"cmdline": process.cmdline[:_SHORT_CMDLINE_CHARACTERS]})
        for process in report.processes
    )
    while True:
        body = report.model_copy(update={"processes": shortened}).model_dump_json(exclude_none=True).encode()
        if len(body) <= limit or not shortened:
            return body
        shortened = shortened[: len(shortened) // 2]
