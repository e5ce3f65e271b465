"""What clients' clusters have, as they reported it last, and which projects may claim it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Text, cast, select
from sqlalchemy.orm import Session

from agent.wire.naming import ContainerNaming
from db.documents.kubernetes_config import ProjectKubernetes
from db.models import LatestPodReport, Project


@dataclass(frozen=True, slots=True)
class NewestPods:
    """A client's newest report of one selection. `pods` are PodInfo documents, not yet read as such: most are nobody's."""

    client_id: str
    namespace: str | None
    label_selector: str | None
    truncated: bool
    reported_at: datetime
    received_at: datetime
    pods: Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ClaimingProject:
    """A project whose pods are known by its names or its labels."""

    project_id: str
    naming: ContainerNaming | None
    config: ProjectKubernetes | None


def list_newest_pods(session: Session) -> list[NewestPods]:
    """The newest report of each client and selection, by client, the newest first."""
    table = LatestPodReport
    columns = (table.client_id, table.namespace, table.label_selector, table.truncated)
    query = select(
        *columns, table.reported_at, table.received_at, cast(table.pods, Text).label("pods")
    )  # read by orjson: a cluster's may be large
    rows = session.execute(query.order_by(table.client_id, table.reported_at.desc(), table.selection_key))
    return [NewestPods(*row[:-1], pods=orjson.loads(row.pods)) for row in rows]


def list_claiming_projects(session: Session) -> list[ClaimingProject]:
    """Every project that may have pods, as it is now, by id."""
    query = (
        select(Project.id, Project.container_naming, Project.kubernetes_config)
        .where(Project.container_prefix.is_not(None) | Project.kubernetes_config.is_not(None))
        .order_by(Project.id)
    )
    return [ClaimingProject(*row) for row in session.execute(query)]
