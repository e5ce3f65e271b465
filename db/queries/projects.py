"""Projects and their environments."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.naming import Claim
from db.errors import RowNotFoundError
from db.ids import is_id
from db.models import Environment, Project
from db.queries.paging import escaped, page_of


def find_project(session: Session, id_or_name: str) -> Project | None:
    """The project with this id or this name."""
    if is_id(id_or_name):
        return session.get(Project, id_or_name.lower())
    if "\x00" in id_or_name:
        return None
    return session.scalar(select(Project).where(Project.name == id_or_name))


def get_project(session: Session, id_or_name: str) -> Project:
    """The project with this id or this name. Raises RowNotFoundError."""
    project = find_project(session, id_or_name)
    if project is None:
        raise RowNotFoundError(f"there is no project {escaped(id_or_name)}")
    return project


def list_projects(
    session: Session, *, limit: int | None = 100, cursor: str | None = None
) -> Sequence[Project]:
    """Projects, oldest first; the cursor is the last one's id."""
    return page_of(session, select(Project), Project.id, limit=limit, cursor=cursor)


def list_claims(session: Session) -> list[Claim]:
    """What every project with a `container_naming` claims of the hosts' containers, as it is now."""
    query = select(Project.id, Project.container_naming).where(Project.container_prefix.is_not(None))
    return [
        Claim(project_id, naming.prefix, naming.separator)
        for project_id, naming in session.execute(query)
        if naming is not None
    ]


def get_environment(session: Session, environment_id: str) -> Environment:
    """The environment with this id. Raises RowNotFoundError."""
    environment = session.get(Environment, environment_id.lower()) if is_id(environment_id) else None
    if environment is None:
        raise RowNotFoundError(f"there is no environment {escaped(environment_id)}")
    return environment


def find_environment(session: Session, project_id: str, id_or_name: str) -> Environment | None:
    """The project's environment with this id or this name."""
    if is_id(id_or_name):
        found = session.get(Environment, id_or_name.lower())
        return found if found is not None and found.project_id == project_id else None
    if "\x00" in id_or_name:
        return None
    return session.scalar(
        select(Environment).where(Environment.project_id == project_id, Environment.name == id_or_name)
    )


def list_environments(
    session: Session, project_id: str, *, limit: int | None = None, cursor: str | None = None
) -> Sequence[Environment]:
    """A project's environments, oldest first; the cursor is the last one's id."""
    query = select(Environment).where(Environment.project_id == project_id)
    return page_of(session, query, Environment.id, limit=limit, cursor=cursor)
