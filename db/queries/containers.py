"""What clients' containers are, as they reported them last."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import LatestContainerReport, Project


def list_newest_reports(session: Session) -> Sequence[LatestContainerReport]:
    """The newest report of each client that made one, by client."""
    return session.scalars(select(LatestContainerReport).order_by(LatestContainerReport.client_id)).all()


def list_named_projects(session: Session) -> list[tuple[str, str, str]]:
    """Id, name and prefix of every project that has a `container_naming`, by name."""
    query = select(Project.id, Project.name, Project.container_prefix).where(
        Project.container_prefix.is_not(None)
    )
    return [
        (row.id, row.name, row.container_prefix or "")
        for row in session.execute(query.order_by(Project.name))
    ]
