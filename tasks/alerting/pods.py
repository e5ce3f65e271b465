"""Pod reports, judged: for each project, the pods that its labels or its prefix claim, as both are now."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.wire.pods import PodInfo
from db.documents.kubernetes_config import ProjectKubernetes
from db.models import AlertMemory, Project
from db.queries.alerts import Pair
from tasks.alerting.changing import Look
from tasks.alerting.judging import Judging
from tasks.decisions.pod_matching import PodClaims
from tasks.decisions.pod_reports import Coverage
from tasks.decisions.pod_watching import TYPES, KnownPod, PodLimits, PodLook, PodMemory, observe_pods
from tasks.planning.claims import load_pod_claims

KIND = "pod"


@dataclass(frozen=True, slots=True)
class PodsSeen:
    """A client's newest report of a selection of its cluster's pods."""

    client_id: str
    coverage: Coverage
    pods: Sequence[PodInfo]
    at: datetime
    received_at: datetime


def judge_pods(session: Session, reports: Sequence[PodsSeen]) -> None:
    """Judge each report, in the transaction that keeps it; one that is too old to say what is there now is passed over."""
    if not reports:
        return
    claims, configs = load_pod_claims(session), _configs(session)
    looks = [(report, _by_project(report, claims)) for report in reports]
    watched = _watched(session, [one.client_id for one in reports])
    pairs = {(report.client_id, project_id) for report, mine in looks for project_id in mine} | watched
    since = min([one.at for one in reports])
    judging = Judging(session, sorted(pairs), KIND, TYPES, since=since)
    for report, mine in looks:
        for pair in sorted(one for one in pairs if one[0] == report.client_id):
            _judge(judging, report, pair, mine.get(pair[1], []), configs.get(pair[1]))
    judging.keep()


def _judge(
    judging: Judging,
    report: PodsSeen,
    pair: Pair,
    pods: Sequence[PodInfo],
    config: ProjectKubernetes | None,
) -> None:
    limits = _limits(config or ProjectKubernetes(), judging.stale_after_s(pair))
    if report.received_at - report.at > timedelta(seconds=limits.stale_after_s):
        return
    live, when = judging.live(pair), Look(report.at, report.received_at)
    look = PodLook(
        report.coverage,
        report.at,
        failing={one.subject for one in live if one.type == "pod_failed"},
        deploying=judging.is_deploying(pair, when),
        expected=config.namespace if config is not None and pair in judging.installed else None,
    )
    observed, memory = observe_pods(pods, _memory_of(judging.memory(pair)), limits, look)
    judging.apply(pair, observed, when)
    judging.remember(pair, _document_of(memory))


def _by_project(report: PodsSeen, claims: PodClaims) -> dict[str, list[PodInfo]]:
    mine: dict[str, list[PodInfo]] = defaultdict(list)
    for pod in report.pods:
        project_id = claims.owner_of(pod.name, pod.namespace, pod.labels)
        if project_id is not None:
            mine[project_id].append(pod)
    return mine


def _watched(session: Session, client_ids: Sequence[str]) -> set[Pair]:
    """Pairs whose pods were seen before, gone by now perhaps."""
    query = select(AlertMemory.client_id, AlertMemory.project_id).where(
        AlertMemory.kind == KIND, AlertMemory.client_id.in_(sorted(set(client_ids)))
    )
    return {(client_id, project_id) for client_id, project_id in session.execute(query)}


def _configs(session: Session) -> dict[str, ProjectKubernetes]:
    query = select(Project.id, Project.kubernetes_config).where(Project.kubernetes_config.is_not(None))
    return {project_id: config for project_id, config in session.execute(query) if config is not None}


def _limits(config: ProjectKubernetes, stale_after_s: float) -> PodLimits:
    return PodLimits(float(config.alert_for_s), config.alert_on_failure, stale_after_s)


def _memory_of(document: Mapping[str, Any]) -> PodMemory:
    return {
        uid: KnownPod(subject, namespace, restarts, datetime.fromisoformat(missing) if missing else None)
        for uid, (subject, namespace, restarts, missing) in document.items()
    }


def _document_of(memory: PodMemory) -> dict[str, Any]:
    return {
        uid: [
            known.subject,
            known.namespace,
            known.restarts,
            known.missing_since.isoformat() if known.missing_since else None,
        ]
        for uid, known in memory.items()
    }
