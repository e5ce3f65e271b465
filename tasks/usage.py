"""What a version uses on a client: by the newest report before an upgrade, and by the looks that prove the new one."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import mean

from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.wire.containers import ContainerInfo
from db.documents.usage import Usage
from db.models import Alert, DeployResult, LatestContainerReport, LatestProcessReport, ProcessSet
from tasks.decisions.evidence import Seen
from tasks.decisions.regressions import Change, Compared, changes_of
from tasks.work import Release

FRESH = timedelta(minutes=15)
RESTARTS_WITHIN = timedelta(minutes=15)
"""Before an attempt, and after it: what was worse once stays so, however long a person is waited for."""
MB = 1_000_000
RESTARTS = ("process_restart", "container_restarted", "pod_restarted")


def usage_before(
    session: Session, project_id: str, client_id: str, version: str | None, now: datetime
) -> Usage | None:
    """What `version`, which is installed there, uses: by the newest report, where that is of the last quarter of an hour.

    None where the report is of another version: after an attempt that failed it may be of the new one.
    """
    if version is None:
        return None
    row = session.get(LatestProcessReport, (project_id, client_id))
    if row is not None and now - row.received_at < FRESH and row.memory_mb:
        of = session.get_one(ProcessSet, row.set_id)
        if of.version != version or of.observed_version not in (None, version):
            return None
        return Usage(cpu_percent=_sum(row.cpu_percent or ()), memory_mb=_sum(row.memory_mb))
    boxes = session.get(LatestContainerReport, client_id)
    if boxes is None or now - boxes.received_at >= FRESH:
        return None
    running = [one for one in boxes.containers if one.project_id == project_id and one.state == "running"]
    return _of_containers(running) if {one.version for one in running} == {version} else None


def usage_in(seen: Seen) -> Usage | None:
    """What one look saw; None where it saw nothing that is measured."""
    if seen.containers:
        return _of_containers(seen.containers)
    if not seen.processes:
        return None
    return Usage(
        cpu_percent=_sum(one.cpu_percent for one in seen.processes),
        memory_mb=_sum(one.memory_mb for one in seen.processes),
    )


def mean_usage(looks: Sequence[Usage]) -> Usage | None:
    """Over several looks; None where there was none."""
    if not looks:
        return None
    cpu = [one.cpu_percent for one in looks if one.cpu_percent is not None]
    memory = [one.memory_mb for one in looks if one.memory_mb is not None]
    return Usage(cpu_percent=mean(cpu) if cpu else None, memory_mb=mean(memory) if memory else None)


def read_changes(session: Session, release: Release, *, since: datetime | None = None) -> list[Change]:
    """Every figure of every client that was upgraded (after `since`) and measured before; none where nothing is looked
    for (0 %).
    """
    percent = release.strategy.regression_percent
    if not percent:
        return []
    columns = (DeployResult.client_id, DeployResult.started_at, DeployResult.finished_at, DeployResult.usage)
    query = select(*columns).where(
        DeployResult.deploy_task_id == release.deploy_task_id,
        DeployResult.status == "success",
        DeployResult.usage.is_not(None),
    )
    if since is not None:
        query = query.where(DeployResult.finished_at > since)
    rows = [
        _Row(client_id, started, finished, usage.before, usage.after)
        for client_id, started, finished, usage in session.execute(query)
        if started is not None and finished is not None and usage is not None and usage.after is not None
    ]
    restarts = _restarts(session, release.project_id, rows)
    return changes_of((_compared(row, restarts[row.client_id]) for row in rows), percent)


@dataclass(frozen=True, slots=True)
class _Row:
    client_id: str
    started_at: datetime
    finished_at: datetime
    before: Usage
    after: Usage


def _compared(row: _Row, restarts: Sequence[datetime]) -> Compared:
    return Compared(
        row.client_id,
        row.before,
        row.after,
        restarts_before=sum(row.started_at - RESTARTS_WITHIN <= at < row.started_at for at in restarts),
        restarts_after=sum(row.finished_at <= at <= row.finished_at + RESTARTS_WITHIN for at in restarts),
    )


def _restarts(session: Session, project_id: str, rows: Sequence[_Row]) -> Mapping[str, list[datetime]]:
    """When restarts were alerts: a deploy task's own are none."""
    found: dict[str, list[datetime]] = defaultdict(list)
    if not rows:
        return found
    earliest = min(row.started_at for row in rows) - RESTARTS_WITHIN
    query = select(Alert.client_id, Alert.fired_at).where(
        Alert.project_id == project_id, Alert.type.in_(RESTARTS), Alert.fired_at >= earliest
    )
    for client_id, at in session.execute(query):
        if client_id is not None and at is not None:
            found[client_id].append(at)
    return found


def _of_containers(containers: Sequence[ContainerInfo]) -> Usage:
    memory = _sum(one.memory_usage for one in containers)
    return Usage(
        cpu_percent=_sum(one.cpu_percent for one in containers),
        memory_mb=memory / MB if memory is not None else None,
    )


def _sum(values: Iterable[float | None]) -> float | None:
    """Of those that were measured; None where none was."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
