"""Who has been silent, or reports something else than what is installed: whom the heartbeat asks."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from agent.wire.monitors import PutMonitor
from db.documents.evidence import EvidenceConfig
from db.documents.kubernetes_config import ProjectKubernetes
from db.models import (
    Client,
    Installation,
    LatestContainerReport,
    LatestPodReport,
    LatestProcessReport,
    ProcessSet,
    Project,
    Version,
)
from db.queries.alerts import deploying_pairs
from db.secrets import SecretBox
from tasks.monitors import make_monitor

INTERVALS = 2.5
"""A client that missed two reports is silent."""


@dataclass(frozen=True, slots=True)
class SilentClient:
    """One to be asked, and what it should be watching. `leave`: projects to be left alone now."""

    client_id: str
    url: str
    token: str | None = field(repr=False)
    monitors: dict[str, PutMonitor]
    leave: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Wanted:
    installation: Installation
    project: Project
    version: Version | None


def mark_heard(session: Session, now: datetime, within: timedelta) -> None:
    """Clients whose reports come in are online, without being asked."""
    heard: dict[str, datetime] = {}
    for table in (LatestProcessReport, LatestContainerReport, LatestPodReport):
        query = select(table.client_id, table.received_at).where(table.received_at > now - within)
        for client_id, at in session.execute(query):
            heard[client_id] = max(at, heard.get(client_id, at))
    known = {row.client_id: row for row in session.execute(select(Client.client_id, Client.online))}
    for client_id, at in heard.items():
        if client_id in known:
            mark(session, client_id, online=True, was=known[client_id].online, at=at)


def mark(session: Session, client_id: str, *, online: bool, was: bool | None, at: datetime) -> None:
    """Write down whether it is online; since when, where that is new."""
    values: dict[str, object] = {"online": online}
    if online:
        values["heard_at"] = at
    if online is not was:
        values["online_since"] = at
    session.execute(update(Client).where(Client.client_id == client_id).values(**values))


def find_silent(
    session: Session, secrets: SecretBox, now: datetime, silent_for: timedelta
) -> list[SilentClient]:
    """Clients of which nothing was heard for so long, or that don't report what is installed there; by client id.

    One with installations is silent if any of them is; without, if it hasn't been heard of.
    """
    wanted = _installed(session)
    reported = _reported_versions(session)
    others = {
        "container": _received(session, LatestContainerReport),
        "kubernetes": _received(session, LatestPodReport),
    }
    clients = session.scalars(select(Client).order_by(Client.client_id)).all()
    deploying = deploying_pairs(session, {client.client_id for client in clients})
    silent = []
    for client in clients:
        mine = wanted.get(client.client_id, [])
        if not _is_silent(client, mine, reported, others, now=now, silent_for=silent_for):
            continue
        silent.append(_silent_client(client, mine, deploying, secrets))
    return silent


def _installed(session: Session) -> dict[str, list[_Wanted]]:
    query = (
        select(Installation, Project, Version)
        .join(Project, Project.id == Installation.project_id)
        .outerjoin(
            Version,
            (Version.project_id == Installation.project_id) & (Version.version == Installation.version),
        )
        .where(Installation.status.in_(("installed", "failed")))
    )
    found: dict[str, list[_Wanted]] = defaultdict(list)
    for installation, project, version in session.execute(query):
        found[installation.client_id].append(_Wanted(installation, project, version))
    return found


def _received(
    session: Session, table: type[LatestContainerReport] | type[LatestPodReport]
) -> dict[str, datetime]:
    query = select(table.client_id, func.max(table.received_at)).group_by(table.client_id)
    return {row[0]: row[1] for row in session.execute(query)}


def _namespace_of(project: Project) -> str | None:
    if project.type != "kubernetes":
        return None
    return (project.kubernetes_config or ProjectKubernetes()).namespace


def _reported_versions(session: Session) -> dict[tuple[str, str], tuple[str, datetime]]:
    query = select(
        LatestProcessReport.client_id,
        LatestProcessReport.project_id,
        ProcessSet.version,
        LatestProcessReport.received_at,
    ).join(ProcessSet, ProcessSet.id == LatestProcessReport.set_id)
    return {(client, project): (version, at) for client, project, version, at in session.execute(query)}


def _is_silent(
    client: Client,
    mine: Sequence[_Wanted],
    reported: dict[tuple[str, str], tuple[str, datetime]],
    others: dict[str, dict[str, datetime]],
    *,
    now: datetime,
    silent_for: timedelta,
) -> bool:
    if not mine:
        return client.heard_at is None or client.heard_at <= now - silent_for
    for one in mine:
        config = one.version.process_config if one.version is not None else None
        interval = timedelta(seconds=INTERVALS * (config.collect_interval if config else 60))
        longest = max(silent_for, interval)
        received = others.get(one.project.type)
        if received is not None and received.get(client.client_id, client.created_at) <= now - longest:
            return True
        if received is not None and not (config and config.rules):
            continue
        said = reported.get((client.client_id, one.installation.project_id))
        if said is None or said[1] <= now - longest or said[0] != one.installation.version:
            return True
    return False


def _silent_client(
    client: Client, mine: Sequence[_Wanted], deploying: Collection[tuple[str, str]], secrets: SecretBox
) -> SilentClient:
    monitors: dict[str, PutMonitor] = {}
    leave = {project_id for client_id, project_id in deploying if client_id == client.client_id}
    for one in mine:
        version, installation = one.version, one.installation
        if version is None or installation.status == "failed":
            leave.add(installation.project_id)  # adopted, or nobody knows what runs there
            continue
        monitors[installation.project_id] = make_monitor(
            version=version.version,
            release_id=installation.deploy_task_id or "adopted",
            process_config=version.process_config,
            evidence=version.evidence or EvidenceConfig(),
            work_dir=version.work_dir or "/",
            run_as=version.run_as,
            containers=one.project.type == "container",
            pods_in=_namespace_of(one.project),
        )
    token = secrets.decrypt(client.token_encrypted) if client.token_encrypted else None
    return SilentClient(client.client_id, client.url, token, monitors, frozenset(leave))
