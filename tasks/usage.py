"""What a version uses on a client: by the newest report before an upgrade, and by the looks that prove the new one."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from statistics import mean

from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.wire.containers import ContainerInfo
from db.documents.usage import Usage
from db.models import Alert, DeployResult, DeployTask, LatestContainerReport, LatestProcessReport
from tasks.decisions.evidence import Seen
from tasks.decisions.regressions import Change, Compared, changes_of
from tasks.work import Release

FRESH = timedelta(minutes=15)
MB = 1_000_000
RESTARTS = ("process_restart", "container_restarted", "pod_restarted")


def usage_before(session: Session, project_id: str, client_id: str, now: datetime) -> Usage | None:
    """By its newest report, where that is of the last quarter of an hour."""
    row = session.get(LatestProcessReport, (project_id, client_id))
    if row is not None and now - row.received_at < FRESH and row.memory_mb:
        return Usage(cpu_percent=_sum(row.cpu_percent or ()), memory_mb=_sum(row.memory_mb))
    boxes = session.get(LatestContainerReport, client_id)
    if boxes is None or now - boxes.received_at >= FRESH:
        return None
    mine = [one for one in boxes.containers if one.project_id == project_id and one.state == "running"]
    return _of_containers(mine) if mine else None


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


def read_changes(
    session: Session, task: DeployTask, release: Release, now: datetime, *, since: datetime | None = None
) -> list[Change]:
    """Every figure of every client that was upgraded (after `since`) and measured before; none where nothing is looked
    for (0 %).
    """
    percent = release.strategy.regression_percent
    if not percent:
        return []
    query = select(DeployResult).where(
        DeployResult.deploy_task_id == task.id,
        DeployResult.status == "success",
        DeployResult.usage.is_not(None),
    )
    if since is not None:
        query = query.where(DeployResult.finished_at > since)
    rows = [row for row in session.scalars(query) if row.usage and row.usage.after]
    restarts = _restarts(session, task.project_id, [row.client_id for row in rows])
    return changes_of((_compared(row, restarts.get(row.client_id, []), now) for row in rows), percent)


def _compared(row: DeployResult, restarts: Sequence[datetime], now: datetime) -> Compared:
    assert row.usage is not None
    assert row.usage.after is not None
    ended, started = row.finished_at or now, row.started_at or now
    long = now - ended
    return Compared(
        row.client_id,
        row.usage.before,
        row.usage.after,
        restarts_before=sum(started - long <= at <= started for at in restarts),
        restarts_after=sum(at >= ended for at in restarts),
    )


def _restarts(session: Session, project_id: str, clients: Sequence[str]) -> dict[str, list[datetime]]:
    """When restarts were alerts: a deploy task's own are none."""
    found: dict[str, list[datetime]] = {}
    query = select(Alert.client_id, Alert.fired_at).where(
        Alert.project_id == project_id, Alert.type.in_(RESTARTS), Alert.fired_at.is_not(None)
    )
    wanted = set(clients)
    for client_id, at in session.execute(query):
        if client_id in wanted and at is not None:
            found.setdefault(client_id, []).append(at)
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
