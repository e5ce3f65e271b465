"""Versions of a project."""

from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.errors import RowNotFoundError
from db.ids import is_id
from db.models import DeployTask, Version
from db.queries.paging import escaped, page_of


def get_version(session: Session, version_id: str) -> Version:
    """The version with this id. Raises RowNotFoundError."""
    version = session.get(Version, version_id.lower()) if is_id(version_id) else None
    if version is None:
        raise RowNotFoundError(f"there is no version {escaped(version_id)}")
    return version


def find_version(session: Session, project_id: str, name: str) -> Version | None:
    """The project's version of this name."""
    return session.scalar(select(Version).where(Version.project_id == project_id, Version.version == name))


def versions_by_name(session: Session, project_id: str, names: Iterable[str]) -> dict[str, Version]:
    """The registered ones of these versions."""
    wanted = sorted(set(names))
    query = select(Version).where(Version.project_id == project_id, Version.version.in_(wanted))
    return {version.version: version for version in session.scalars(query)}


def list_versions(
    session: Session,
    project_id: str,
    *,
    status: str | None = None,
    limit: int | None = 100,
    cursor: str | None = None,
) -> Sequence[Version]:
    """A project's versions, oldest first; the cursor is the last one's id."""
    query = select(Version).where(Version.project_id == project_id)
    if status is not None:
        query = query.where(Version.status == status)
    return page_of(session, query, Version.id, limit=limit, cursor=cursor)


def is_used(session: Session, version: Version) -> bool:
    """Whether a deploy task used its scripts: from then on they don't change."""
    plans = session.scalars(select(DeployTask.plan).where(DeployTask.project_id == version.project_id))
    return any(client.version_id == version.id for plan in plans for client in plan.clients)
