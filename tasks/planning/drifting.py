"""A project's drift: each client's installation against what its newest report shows, and what repairs it."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from sqlalchemy.orm import Session

from db.documents.deploy_request import DeployTaskRequest
from db.documents.kubernetes_config import ProjectKubernetes
from db.models import DeployTask, Project
from db.queries.drift import (
    EVERY,
    Recorded,
    Shown,
    containers_shown,
    list_recorded,
    processes_shown,
    versions_by_image,
)
from db.queries.pods import NewestPods, list_newest_pods
from tasks.decisions.drift import REPAIRED, Drift, Seen, judge_drift, shown
from tasks.decisions.images import versions_running
from tasks.decisions.pod_matching import PodClaims
from tasks.errors import PlanningError
from tasks.planning.claims import load_pod_claims
from tasks.planning.creating import create_deploy_task

EXTRA_SEEN_FOR = timedelta(minutes=10)
"""What runs where nothing is installed is told while it is reported: nobody's interval says how long a report holds."""
DEFAULT_INTERVAL_S = EXTRA_SEEN_FOR.total_seconds() / 3


@dataclass(frozen=True, slots=True)
class DriftRow:
    """One client. `environment`, `recorded_version` None: nothing is installed there."""

    client_id: str
    environment: str | None
    recorded_version: str | None
    observed_version: str | None
    drift: Drift
    observed_at: datetime | None


class NewestReports:
    """What all clients reported last of their containers and pods; read once, for as many projects as are asked for."""

    def __init__(self, session: Session) -> None:
        self.session = session

    @cached_property
    def containers(self) -> Mapping[str, Mapping[str, Shown]]:
        """By project and client."""
        return containers_shown(self.session)

    @cached_property
    def pods(self) -> Sequence[NewestPods]:
        """By client, the newest first."""
        return list_newest_pods(self.session)

    @cached_property
    def claims(self) -> PodClaims:
        """Whose pods are whose."""
        return load_pod_claims(self.session)


def read_drift(
    session: Session, project: Project, now: datetime, reports: NewestReports | None = None
) -> list[DriftRow]:
    """Every installation, and every other client on which something of the project runs; by client."""
    recorded = list_recorded(session, project.id)
    seen = _seen(session, project, recorded, reports or NewestReports(session))
    rows = [_row(one, seen.get(one.client_id), now) for one in recorded]
    installed = {one.client_id for one in recorded}
    for client_id, what in seen.items():
        if client_id not in installed and judge_drift(None, what, DEFAULT_INTERVAL_S, now) == "extra":
            rows.append(DriftRow(client_id, None, None, shown(what.versions), "extra", what.at))
    return sorted(rows, key=lambda row: row.client_id)


def repair(
    session: Session,
    project: Project,
    now: datetime,
    *,
    who: str,
    client_ids: Collection[str] | None = None,
    environment: str | None = None,
) -> list[DeployTask]:
    """A deploy task for each recorded version, which brings it once more to whom it is missing, or has another one.

    Raises PlanningError where nobody (of these) has drifted so, and what creating a deploy task does.
    """
    by_version: dict[str, list[str]] = defaultdict(list)
    for row in read_drift(session, project, now):
        wanted = client_ids is None or row.client_id in client_ids
        if row.drift in REPAIRED and wanted and environment in (None, row.environment):
            by_version[row.recorded_version or ""].append(row.client_id)
    if not by_version:
        raise PlanningError(
            f"nothing of {project.name} is to be repaired: no client has it missing or in another version"
        )
    return [
        create_deploy_task(session, _request(project, version, clients), now=now, who=who)
        for version, clients in sorted(by_version.items())
    ]


def _request(project: Project, version: str, clients: Sequence[str]) -> DeployTaskRequest:
    return DeployTaskRequest(
        project_id=project.id,
        version=version,
        operation="deploy",
        client_ids=tuple(clients),
        environment="*",
        include_failed=True,
        redeploy=True,
    )


def _row(one: Recorded, seen: Seen | None, now: datetime) -> DriftRow:
    return DriftRow(
        one.client_id,
        one.environment,
        one.version,
        shown(seen.versions) if seen is not None else None,
        judge_drift(one.version, seen, one.interval_s, now),
        seen.at if seen is not None else None,
    )


def _seen(
    session: Session, project: Project, recorded: Sequence[Recorded], reports: NewestReports
) -> Mapping[str, Seen]:
    """By client. Without rules nobody looks for processes: a report of none says nothing."""
    if project.type == "kubernetes":
        return _pods_seen(session, project, recorded, reports)
    if project.type == "container":
        found = reports.containers
        return _as_seen({**found.get(EVERY, {}), **found.get(project.id, {})})
    unwatched = {one.client_id for one in recorded if not one.has_rules}
    return {
        client_id: one
        for client_id, one in _as_seen(processes_shown(session, project.id)).items()
        if one.there or one.versions or client_id not in unwatched
    }


def _as_seen(found: Mapping[str, Shown]) -> dict[str, Seen]:
    return {
        client_id: Seen(one.reported_at, one.received_at, one.there, one.versions)
        for client_id, one in found.items()
    }


def _pods_seen(
    session: Session, project: Project, recorded: Sequence[Recorded], reports: NewestReports
) -> Mapping[str, Seen]:
    """A cluster's pods run an image; whose version that is, the project's registered versions say.

    Of several with that image it is the recorded one, where that is among them.
    """
    by_image = versions_by_image(session, project.id)
    expected = {one.client_id: one.version for one in recorded}
    namespace = (project.kubernetes_config or ProjectKubernetes()).namespace
    found: dict[str, Seen] = {}
    for report in reports.pods:
        if report.namespace not in (None, namespace) or report.label_selector or report.truncated:
            continue
        mine = [
            pod
            for pod in report.pods
            if pod["phase"] in ("Running", "Pending")
            and reports.claims.owner_of(pod["name"], pod["namespace"], pod.get("labels") or {}) == project.id
        ]
        version = expected.get(report.client_id, "")
        images = {image: version if version in had else had[0] for image, had in by_image.items()}
        found.setdefault(report.client_id, _pod_seen(report, mine, images))
    return found


def _pod_seen(report: NewestPods, pods: Sequence[Mapping[str, Any]], images: Mapping[str, str]) -> Seen:
    running = {container["image"] for pod in pods for container in pod.get("containers") or ()}
    return Seen(report.reported_at, report.received_at, bool(pods), versions_running(running, images))
