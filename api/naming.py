"""How a project's containers are called: given, or made of the project's name; no two projects have the same prefix."""

import re

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.wire.naming import ContainerNaming
from agent.wire.problems import FieldError
from api.errors import Refused, invalid
from api.kubernetes_rules import check_naming
from db.models import Project

FIELD = "container_naming"
_NOT_LEGAL = re.compile(r"[^a-z0-9]+")
LONGEST_DEFAULT = 40
"""Characters of a prefix that is made of a project's name: it leaves room for an environment and an index."""


def set_naming(session: Session, project: Project, naming: ContainerNaming | None) -> None:
    """Give the project its naming; one of containers or Kubernetes without one gets one made of its name.

    Raises Refused: 409 for a prefix that another project has; 422 where the name gives none, or another project's.
    """
    if naming is not None:
        _check_prefix_is_free(session, project, naming.prefix)
    elif project.type != "script":
        naming = default_naming(project.name)
        other = _other_with(session, project, naming.prefix)
        if other is not None:
            raise invalid(FIELD, f"is needed: the name gives the prefix {naming.prefix!r}, project {other}'s")
    if project.type == "kubernetes" and naming is not None:
        check_naming(naming)
    project.container_naming = naming


def default_naming(name: str) -> ContainerNaming:
    """`Shop (EU)` gives the prefix `shop-eu`. Raises Refused (422) where nothing legal is left."""
    prefix = _NOT_LEGAL.sub("-", name.lower()).strip("-")[:LONGEST_DEFAULT].rstrip("-")
    try:
        return ContainerNaming(prefix=prefix)
    except ValidationError:
        raise invalid(FIELD, "is needed: the project's name gives no prefix") from None


def _check_prefix_is_free(session: Session, project: Project, prefix: str) -> None:
    other = _other_with(session, project, prefix)
    if other is not None:
        field = f"{FIELD}.prefix"
        message = f"the prefix {prefix!r} is project {other}'s"
        raise Refused(
            409, f"cannot name the containers: {message}", (FieldError(field=field, message=message),)
        )


def _other_with(session: Session, project: Project, prefix: str) -> str | None:
    query = select(Project.name, Project.id).where(Project.container_prefix == prefix)
    return next((row.name for row in session.execute(query) if row.id != project.id), None)
