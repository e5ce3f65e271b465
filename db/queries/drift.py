"""What is recorded of a project's installations, and what clients' newest reports show of it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.wire.processes import ProcessConfig
from db.history.samples import LETTERS
from db.models import (
    Environment,
    Installation,
    LatestProcessReport,
    ProcessSet,
    Version,
)
from db.queries.containers import list_newest_reports

EVERY = ""
ZOMBIE = LETTERS["zombie"]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One installation. `has_rules`: whether its processes are looked for."""

    client_id: str
    target_id: str
    environment: str
    version: str
    status: str
    interval_s: float
    has_rules: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """What the newest report of a client shows of the project."""

    reported_at: datetime
    received_at: datetime
    there: bool
    versions: frozenset[str]


def list_recorded(session: Session, project_id: str) -> list[Recorded]:
    """What is installed, by client; installations that failed have what was proven last."""
    query = (
        select(Installation, Environment.name, Version.process_config)
        .join(Environment, Environment.id == Installation.environment_id)
        .outerjoin(
            Version,
            (Version.project_id == Installation.project_id) & (Version.version == Installation.version),
        )
        .where(Installation.project_id == project_id, Installation.status.in_(("installed", "failed")))
        .order_by(Installation.client_id)
    )
    found = []
    for row, environment, stored in session.execute(query):
        config = stored or ProcessConfig()
        found.append(
            Recorded(
                row.client_id,
                row.target_id,
                environment,
                row.version,
                row.status,
                float(config.collect_interval),
                bool(config.rules),
            )
        )
    return found


def processes_shown(session: Session, project_id: str) -> Mapping[str, Shown]:
    """By client: whether any rule has a process that is no zombie, and what the probe answered."""
    table = LatestProcessReport
    query = (
        select(
            table.client_id, table.reported_at, table.received_at, table.statuses, ProcessSet.observed_version
        )
        .join(ProcessSet, ProcessSet.id == table.set_id)
        .where(table.project_id == project_id)
    )
    return {
        client_id: Shown(
            at, received, bool(statuses.strip(ZOMBIE)), frozenset({observed} if observed else ())
        )
        for client_id, at, received, statuses, observed in session.execute(query)
    }


def containers_shown(session: Session) -> Mapping[str, Mapping[str, Shown]]:
    """By project and client: the containers that run, by Hoist's own labels. A client that has none of a project is in
    `EVERY`, with nothing there, unless its report was cut: what was cut off may be the project's.
    """
    found: dict[str, dict[str, Shown]] = defaultdict(dict)
    for report in list_newest_reports(session):
        versions: dict[str, set[str]] = defaultdict(set)
        for one in report.containers:
            if one.get("project_id") and one["state"] == "running":
                versions[one["project_id"]].add(one.get("version") or "")
        for project_id, seen in versions.items():
            known = frozenset(version for version in seen if version)
            found[project_id][report.client_id] = Shown(report.reported_at, report.received_at, True, known)
        if not report.truncated:
            found[EVERY][report.client_id] = Shown(report.reported_at, report.received_at, False, frozenset())
    return found


def versions_by_image(session: Session, project_id: str) -> Mapping[str, Sequence[str]]:
    """Which versions run which image, the last registered one first: they may differ in something else."""
    query = select(Version.deploy_config, Version.version).where(
        Version.project_id == project_id, Version.deploy_config.is_not(None)
    )
    found: dict[str, list[str]] = defaultdict(list)
    for config, version in session.execute(query.order_by(Version.id.desc())):
        if config is not None:
            found[config.image].append(version)
    return found
