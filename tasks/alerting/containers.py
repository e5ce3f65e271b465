"""Container reports, judged: for each project, the containers that its prefix covers, as the prefixes are now."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.naming import Claims
from agent.wire.containers import ContainerInfo
from db.documents.container_config import ContainerConfig
from db.models import AlertMemory, Project
from db.queries.alerts import Pair
from db.queries.projects import list_claims
from tasks.alerting.changing import Look
from tasks.alerting.judging import Judging
from tasks.decisions.container_watching import ContainerMemory, Known, Limits, observe_containers

KIND = "container"
TYPES = (
    "container_stopped",
    "container_restarted",
    "container_unhealthy",
    "container_cpu_high",
    "container_memory_high",
)
_KNOWN = TypeAdapter(dict[str, Known])


@dataclass(frozen=True, slots=True)
class ContainersSeen:
    """A client's newest report of all that its engine has."""

    client_id: str
    containers: Sequence[ContainerInfo]
    at: datetime
    received_at: datetime
    truncated: bool = False


def judge_containers(session: Session, reports: Sequence[ContainersSeen]) -> None:
    """Judge each report, in the transaction that keeps it; one that is too old to say what is there now is passed over."""
    if not reports:
        return
    configs = _configs(session)
    claims = Claims(list_claims(session))
    looks = [(report, _by_project(report, claims, configs)) for report in reports]
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
    report: ContainersSeen,
    pair: Pair,
    containers: Sequence[ContainerInfo],
    config: ContainerConfig | None,
) -> None:
    limits = _limits(config or ContainerConfig(), judging.stale_after_s(pair))
    if report.received_at - report.at > timedelta(seconds=limits.stale_after_s):
        return
    live, when = judging.live(pair), Look(report.at, report.received_at)
    stops = [one for one in live if one.type == "container_stopped"]
    observed, memory = observe_containers(
        containers,
        _remembered(judging.memory(pair), report, containers),
        limits,
        live_stops={one.subject for one in stops},
        firing_stops={one.subject for one in stops if one.fired_at},
        deploying=judging.is_deploying(pair, when),
        installed=pair in judging.installed,
        truncated=report.truncated,
    )
    if config is not None and not config.alert_on_exit:
        observed = [one for one in observed if one.type not in ("container_stopped", "container_restarted")]
    judging.apply(pair, observed, when)
    judging.remember(pair, _document_of(memory))


def _by_project(
    report: ContainersSeen, claims: Claims, configs: Mapping[str, ContainerConfig]
) -> dict[str, list[ContainerInfo]]:
    mine: dict[str, list[ContainerInfo]] = defaultdict(list)
    for container in report.containers:
        claim = claims.owner_of(container.container_name)
        if claim is not None and claim.project_id in configs:
            mine[claim.project_id].append(container)
    return mine


def _watched(session: Session, client_ids: Sequence[str]) -> set[Pair]:
    """Pairs whose containers were seen before, gone by now perhaps."""
    query = select(AlertMemory.client_id, AlertMemory.project_id).where(
        AlertMemory.kind == KIND, AlertMemory.client_id.in_(sorted(set(client_ids)))
    )
    return {(client_id, project_id) for client_id, project_id in session.execute(query)}


def _configs(session: Session) -> dict[str, ContainerConfig]:
    query = select(Project.id, Project.container_config).where(Project.container_prefix.is_not(None))
    return {project_id: config or ContainerConfig() for project_id, config in session.execute(query)}


def _limits(config: ContainerConfig, stale_after_s: float) -> Limits:
    return Limits(
        config.alert_on_high_cpu,
        config.alert_on_high_mem,
        float(config.alert_for_s),
        stale_after_s,
    )


def _remembered(
    document: Mapping[str, Any], report: ContainersSeen, mine: Sequence[ContainerInfo]
) -> ContainerMemory:
    """Without what is there under a name that is not the project's (any more): it is not gone."""
    others = {one.container_id for one in report.containers} - {one.container_id for one in mine}
    known = _KNOWN.validate_python(document)
    return {container_id: one for container_id, one in known.items() if container_id not in others}


def _document_of(memory: ContainerMemory) -> dict[str, Any]:
    return {container_id: _plain(known) for container_id, known in memory.items()}


def _plain(known: Known) -> dict[str, Any]:
    started_at = known.started_at.isoformat() if known.started_at is not None else None
    return {**asdict(known), "started_at": started_at}
