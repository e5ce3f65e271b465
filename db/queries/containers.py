"""What clients' containers are, as they reported them last."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, type_coerce
from sqlalchemy.orm import Session

from db.models import LatestContainerReport, Project
from db.types import JsonType


@dataclass(frozen=True, slots=True)
class NewestReport:
    """A client's newest report. `containers` are ContainerInfo documents, not yet read as such: most are nobody's."""

    client_id: str
    reported_at: datetime
    received_at: datetime
    containers: Sequence[dict[str, Any]]
    truncated: bool = False


def list_newest_reports(session: Session) -> list[NewestReport]:
    """The newest report of each client that made one, by client."""
    query = select(
        LatestContainerReport.client_id,
        LatestContainerReport.reported_at,
        LatestContainerReport.received_at,
        type_coerce(LatestContainerReport.containers, JsonType).label("containers"),
        LatestContainerReport.truncated,
    )
    rows = session.execute(query.order_by(LatestContainerReport.client_id))
    return [
        NewestReport(row.client_id, row.reported_at, row.received_at, row.containers, row.truncated)
        for row in rows
    ]


def list_named_projects(session: Session) -> list[tuple[str, str, str]]:
    """Id, name and prefix of every project that has a `container_naming`, by name."""
    query = select(Project.id, Project.name, Project.container_prefix).where(
        Project.container_prefix.is_not(None)
    )
    return [
        (row.id, row.name, row.container_prefix or "")
        for row in session.execute(query.order_by(Project.name))
    ]
