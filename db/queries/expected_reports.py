"""The reports that are to come of what is installed: how often, and by when the newest ones should have had a successor."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, case, func, or_, select, type_coerce
from sqlalchemy.orm import Session

from agent.wire.processes import ProcessConfig
from db.documents.kubernetes_config import ProjectKubernetes
from db.models import (
    Installation,
    LatestContainerReport,
    LatestPodReport,
    LatestProcessReport,
    Project,
    Version,
)
from db.types import JsonType

Latest = type[LatestProcessReport] | type[LatestContainerReport] | type[LatestPodReport]


@dataclass(frozen=True, slots=True)
class ExpectedReports:
    """One kind's. `interval_s`: the shortest of those at which installations report; None: no agent was told to.

    Of each installation's newest report, where it has one, by when it was received: `newest` and `oldest`. `due_at`: when
    the installation should have reported next that is behind most.
    """

    interval_s: int | None
    newest: datetime | None
    oldest: datetime | None
    due_at: datetime | None


def read_expected_reports(session: Session) -> dict[str, ExpectedReports]:
    """By kind. What is not installed any more, or not looked for any more, is not waited for."""
    return {kind: _expected(session.execute(query).all()) for kind, query in _BY_VERSION.items()}


def _expected(rows: Sequence[Row[Any]]) -> ExpectedReports:
    reported = [row for row in rows if row.oldest is not None]
    return ExpectedReports(
        interval_s=min((row.interval_s for row in rows if row.monitored), default=None),
        newest=max((row.newest for row in reported), default=None),
        oldest=min((row.oldest for row in reported), default=None),
        due_at=min((row.oldest + timedelta(seconds=row.interval_s) for row in reported), default=None),
    )


_CONFIG = type_coerce(Version.process_config, JsonType)
_INTERVAL_S = func.coalesce(_CONFIG["collect_interval"].as_integer(), ProcessConfig().collect_interval)
_NAMESPACE = func.coalesce(
    type_coerce(Project.kubernetes_config, JsonType)["namespace"].as_string(), ProjectKubernetes().namespace
)
_HAS_PROCESSES = or_(
    Project.type == "script",
    _CONFIG[("rules", 0)].as_string().is_not(None),
    type_coerce(Version.evidence, JsonType)["version_probe"].as_string().is_not(None),
)
"""As the agent has it: a monitor of containers or pods alone reports no processes."""


def _by_version(latest: Latest, *of_this: ColumnElement[bool], of_type: str | None = None) -> Select[Any]:
    """A row for each version of a project that is installed, with those of its clients' newest reports that are `of_this`.

    `monitored`: an agent has its monitor, or the heartbeat puts one there; of what failed, or is of a version that nobody
    registered, monitors stay as they are, if there are any.
    """
    there = (
        select(
            Installation.project_id,
            Installation.version,
            func.max(case((Installation.status == "installed", 1), else_=0)).label("installed"),
            func.min(latest.received_at).label("oldest"),
            func.max(latest.received_at).label("newest"),
        )
        .join(Project, Project.id == Installation.project_id)
        .outerjoin(latest, and_(latest.client_id == Installation.client_id, *of_this))
        .where(Installation.status != "uninstalled", *([Project.type == of_type] if of_type else ()))
        .group_by(Installation.project_id, Installation.version)
        .subquery()
    )
    known = and_(Version.project_id == there.c.project_id, Version.version == there.c.version)
    monitored = and_(there.c.installed == 1, Version.id.is_not(None))
    return (
        select(_INTERVAL_S.label("interval_s"), monitored.label("monitored"), there.c.oldest, there.c.newest)
        .join_from(there, Project, Project.id == there.c.project_id)
        .outerjoin(Version, known)
    )


_BY_VERSION = {
    "process": _by_version(
        LatestProcessReport, LatestProcessReport.project_id == Installation.project_id
    ).where(_HAS_PROCESSES),
    "container": _by_version(LatestContainerReport, of_type="container"),
    "pod": _by_version(
        LatestPodReport,
        LatestPodReport.namespace == _NAMESPACE,
        LatestPodReport.label_selector.is_(None),
        of_type="kubernetes",
    ),
}
