"""Reads the fleet: the targets that a request means, each with its installation, its hold and its labels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.documents.deploy_request import DeployTaskRequest
from db.models import Client, Environment, Installation, Project, Target
from db.queries.projects import find_environment, list_environments
from tasks.decisions.selection import Candidate
from tasks.errors import PlanningError

NAMED_AT_MOST = 20


@dataclass(frozen=True, slots=True)
class Member:
    """A target of the project, as it is now."""

    candidate: Candidate
    labels: dict[str, str]


def wanted_environments(session: Session, project: Project, wanted: str | None) -> list[Environment]:
    """The environments that the request means: the only one, the named one, or with "*" all.

    Raises PlanningError where it has to be named, or there is none of that name.
    """
    environments = list(list_environments(session, project.id))
    if not environments:
        raise PlanningError(f"project {project.name} has no environment", "environment")
    if wanted == "*":
        return environments
    if wanted is None and len(environments) > 1:
        names = ", ".join(sorted(environment.name for environment in environments)[:NAMED_AT_MOST])
        raise PlanningError(
            f'project {project.name} has several environments ({names}): name one, or "*" for all',
            "environment",
        )
    if wanted is None:
        return environments
    found = find_environment(session, project.id, wanted)
    if found is None:
        raise PlanningError(f"project {project.name} has no environment {wanted!r}", "environment")
    return [found]


def read_members(session: Session, project_id: str, now: datetime) -> list[Member]:
    """Every target of the project, in all its environments, by client."""
    query = (
        select(Target, Client, Installation)
        .join(Client, Client.client_id == Target.client_id)
        .outerjoin(Installation, Installation.target_id == Target.id)
        .where(Target.project_id == project_id)
        .order_by(Target.client_id)
    )
    return [_member(target, client, installed, now) for target, client, installed in session.execute(query)]


def groups_of(members: Sequence[Member], label: str | None) -> dict[str, str]:
    """Each client's value of the label, of those that have it; a target's label goes before its client's."""
    if label is None:
        return {}
    return {one.candidate.client_id: one.labels[label] for one in members if label in one.labels}


def _member(target: Target, client: Client, installed: Installation | None, now: datetime) -> Member:
    candidate = Candidate(
        client_id=target.client_id,
        target_id=target.id,
        environment_id=target.environment_id,
        priority=target.priority,
        held=(client.held_reason or "held") if client.is_held(now) else None,
        version=installed.version if installed else None,
        previous_version=installed.previous_version if installed else None,
        status=installed.status if installed else None,
    )
    return Member(candidate, {**client.labels, **target.labels})


def choose_candidates(
    members: Sequence[Member],
    request: DeployTaskRequest,
    environments: Sequence[Environment],
    project: Project,
) -> list[Candidate]:
    """Whom the request means, before anybody is passed over. Raises PlanningError for a client that isn't there."""
    inside = {environment.id for environment in environments}
    chosen = [member for member in members if member.candidate.environment_id in inside]
    where = f"{project.name} in {', '.join(environment.name for environment in environments)}"
    if request.client_ids is not None:
        _refuse_unknown(request.client_ids, chosen, "client_ids", where)
        named = set(request.client_ids)
        chosen = [member for member in chosen if member.candidate.client_id in named]
    _refuse_unknown(request.exclude_client_ids, members, "exclude_client_ids", project.name)
    if request.selector is not None:
        labels = request.selector.labels.items()
        chosen = [member for member in chosen if labels <= member.labels.items()]
    if request.source_version is not None:
        chosen = [m for m in chosen if m.candidate.installed in (None, request.source_version)]
    return [member.candidate for member in chosen]


def _refuse_unknown(wanted: Iterable[str], members: Sequence[Member], field: str, where: str) -> None:
    unknown = sorted(set(wanted) - {member.candidate.client_id for member in members})
    if unknown:
        more = f" and {len(unknown) - NAMED_AT_MOST} more" if len(unknown) > NAMED_AT_MOST else ""
        raise PlanningError(f"not targets of {where}: {', '.join(unknown[:NAMED_AT_MOST])}{more}", field)
