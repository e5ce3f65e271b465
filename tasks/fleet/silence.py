"""Who is to be asked, read from the database: what was heard of each client, and what is installed there."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import ColumnElement, select, update
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
from db.queries.clients import newest_reports, received_at
from db.queries.deployments import deploying_pairs
from db.secrets import SecretBox
from tasks.decisions.asking import Expected, Heard, Said, is_reporting, order_of, why_ask
from tasks.monitors import make_monitor


@dataclass(frozen=True, slots=True)
class AskedClient:
    """One to be asked, and what it should be watching. `leave`: projects to be left alone now.

    `reporting`: its reports come in, so it is online whether or not it can be reached.
    """

    client_id: str
    url: str
    token: str | None = field(repr=False)
    monitors: dict[str, PutMonitor]
    leave: frozenset[str]
    was_online: bool | None
    reporting: bool


@dataclass(frozen=True, slots=True)
class _Installed:
    installation: Installation
    project: Project
    version: Version | None


def mark_heard(session: Session, *which: ColumnElement[bool]) -> None:
    """Clients that have reported since they were heard of last, or found offline, are online, without being asked."""
    newest = newest_reports(session, *which)
    query = select(Client.client_id, Client.online, Client.online_since, Client.heard_at).where(*which)
    # By their ids, as all write who is online: two that do so at once wait for each other in one direction.
    for client in sorted(session.execute(query), key=lambda row: row.client_id):
        at = newest.get(client.client_id)
        if at is not None and all(one is None or at > one for one in (client.online_since, client.heard_at)):
            mark(session, client.client_id, online=True, was=client.online, at=at)


def mark(session: Session, client_id: str, *, online: bool, was: bool | None, at: datetime) -> None:
    """Write down whether it is online; since when, where that is new."""
    values: dict[str, object] = {
        "online": online,
        "updated_at": Client.updated_at,
    }  # nobody changed the client
    if online:
        values["heard_at"] = at
    if online is not was:
        values["online_since"] = at
    session.execute(update(Client).where(Client.client_id == client_id).values(**values))


def find_to_ask(
    session: Session, secrets: SecretBox, now: datetime, silent_for_s: float
) -> list[AskedClient]:
    """Clients that are to be asked now, held ones too; those that are known to be offline last."""
    installed, said = _installed(session), _said(session)
    containers, pods = received_at(session, LatestContainerReport), received_at(session, LatestPodReport)
    clients = session.scalars(select(Client)).all()
    deploying = deploying_pairs(session, {client.client_id for client in clients}, now)
    asked = []
    for client in clients:
        mine = installed.get(client.client_id, [])
        heard = Heard(
            client.client_id,
            client.created_at,
            client.heard_at,
            containers.get(client.client_id),
            pods.get(client.client_id),
            said.get(client.client_id, {}),
            client.online,
        )
        expected = {one.installation.project_id: _expected(one) for one in mine}
        if why_ask(heard, expected, now, silent_for_s) is not None:
            reporting = is_reporting(heard, expected, now, silent_for_s)
            asked.append(_asked(client, mine, deploying, secrets, reporting=reporting))
    return sorted(asked, key=lambda one: order_of(was_online=one.was_online, client_id=one.client_id))


def ask_for(session: Session, client: AskedClient, now: datetime) -> AskedClient:
    """The same client, with what it should be watching by now."""
    mine = _installed(session, client.client_id).get(client.client_id, [])
    monitors, leave = _wanted(client.client_id, mine, deploying_pairs(session, {client.client_id}, now))
    return replace(client, monitors=monitors, leave=leave)


def _installed(session: Session, client_id: str | None = None) -> Mapping[str, Sequence[_Installed]]:
    query = (
        select(Installation, Project, Version)
        .join(Project, Project.id == Installation.project_id)
        .outerjoin(
            Version,
            (Version.project_id == Installation.project_id) & (Version.version == Installation.version),
        )
        .where(Installation.status.in_(("installed", "failed")))
    )
    if client_id is not None:
        query = query.where(Installation.client_id == client_id)
    found: dict[str, list[_Installed]] = defaultdict(list)
    for installation, project, version in session.execute(query):
        found[installation.client_id].append(_Installed(installation, project, version))
    return found


def _namespace_of(project: Project) -> str | None:
    if project.type != "kubernetes":
        return None
    return (project.kubernetes_config or ProjectKubernetes()).namespace


def _said(session: Session) -> Mapping[str, Mapping[str, Said]]:
    query = select(
        LatestProcessReport.client_id,
        LatestProcessReport.project_id,
        ProcessSet.version,
        ProcessSet.unmatched_rules,
        ProcessSet.definitions,
        LatestProcessReport.received_at,
    ).join(ProcessSet, ProcessSet.id == LatestProcessReport.set_id)
    found: dict[str, dict[str, Said]] = defaultdict(dict)
    for client_id, project_id, version, unmatched, definitions, at in session.execute(query):
        rules = frozenset(unmatched).union(one["matched_by"] for one in definitions)
        found[client_id][project_id] = Said(version, rules, at)
    return found


def _expected(one: _Installed) -> Expected:
    version, installation, kind = one.version, one.installation, one.project.type
    config = version.process_config if version is not None else None
    rules = frozenset(rule.name for rule in config.rules) if config is not None else frozenset()
    return Expected(
        version=installation.version,
        rules=rules if version is not None else None,
        processes=kind == "script" or bool(rules),
        containers=kind == "container",
        pods=kind == "kubernetes",
        interval_s=float(config.collect_interval if config is not None else 60),
        changed=version is not None and version.updated_at > installation.last_updated_at,
    )


def _asked(
    client: Client,
    mine: Sequence[_Installed],
    deploying: Collection[tuple[str, str]],
    secrets: SecretBox,
    *,
    reporting: bool,
) -> AskedClient:
    monitors, leave = _wanted(client.client_id, mine, deploying)
    token = secrets.decrypt(client.token_encrypted) if client.token_encrypted else None
    return AskedClient(client.client_id, client.url, token, monitors, leave, client.online, reporting)


def _wanted(
    client_id: str, mine: Sequence[_Installed], deploying: Collection[tuple[str, str]]
) -> tuple[dict[str, PutMonitor], frozenset[str]]:
    """What it should be watching, and the projects to be left alone."""
    monitors: dict[str, PutMonitor] = {}
    leave = {project_id for whose, project_id in deploying if whose == client_id}
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
    return monitors, frozenset(leave)
