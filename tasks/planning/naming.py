"""How a deploy task's containers are called, and that nobody takes them for another project's."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from pydantic import ValidationError
from sqlalchemy.orm import Session

from agent.naming import Claim, NamingError, make_name, owner_of
from agent.wire.naming import ContainerNaming
from db.documents.deploy_request import DeployTaskRequest
from db.models import Environment, Project
from db.queries.projects import list_claims
from tasks.errors import PlanningError

FIELD = "container_naming"
_ANY_TIME = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def effective_naming(project: Project, request: DeployTaskRequest) -> ContainerNaming | None:
    """The project's naming with what the request overrides; None for a project without one. Raises PlanningError."""
    naming, override = project.container_naming, request.container_naming
    if naming is None or override is None:
        return naming
    changed = {**naming.model_dump(), **override.model_dump(exclude_none=True)}
    try:
        return ContainerNaming.model_validate(changed)
    except ValidationError as error:
        why = "; ".join(one["msg"].removeprefix("Value error, ") for one in error.errors(include_input=False))
        raise PlanningError(f"cannot name the containers: {why}", FIELD) from None


def check_naming(
    session: Session, project: Project, request: DeployTaskRequest, environments: Sequence[Environment]
) -> None:
    """Refuse what makes no sense for the project's type, and names that would count as another project's.

    Raises PlanningError, naming the field.
    """
    if project.type != "container":
        if request.container_naming is not None:
            raise PlanningError(f"project {project.name} deploys no containers: leave it out", FIELD)
        return
    for field in _script_fields(request):
        raise PlanningError(f"project {project.name} deploys containers, not scripts: leave it out", field)
    naming = effective_naming(project, request)
    if naming is None:
        raise PlanningError(f"project {project.name} has no container_naming", FIELD)
    others = {one.project_id: one for one in list_claims(session) if one.project_id != project.id}
    for other in others.values():
        if other.prefix == naming.prefix:
            raise PlanningError(f"the prefix {naming.prefix} is project {_name_of(session, other)}'s", FIELD)
    claims = [*others.values(), Claim(project.id, naming.prefix, naming.separator)]
    for environment in environments:
        _check_owner(session, project, naming, environment.name, claims)


def _script_fields(request: DeployTaskRequest) -> Iterator[str]:
    if request.detach_method is not None:
        yield "detach_method"
    if not request.detach_process:
        yield "detach_process"


def _check_owner(
    session: Session, project: Project, naming: ContainerNaming, environment: str, claims: Sequence[Claim]
) -> None:
    try:
        name = make_name(naming, environment=environment, version="1", at=_ANY_TIME)
    except NamingError as error:
        raise PlanningError(f"cannot name the containers: {error}", FIELD) from None
    owner = owner_of(name, claims)
    if owner is not None and owner.project_id != project.id:
        raise PlanningError(
            f"a container named {name} would count as project {_name_of(session, owner)}'s, whose prefix is "
            f"{owner.prefix}: give one of the two another prefix",
            FIELD,
        )


def _name_of(session: Session, claim: Claim) -> str:
    return session.get_one(Project, claim.project_id).name
