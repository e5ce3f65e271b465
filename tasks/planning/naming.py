"""How a deploy task's containers are called, and that nobody takes them for another project's."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from pydantic import ValidationError
from sqlalchemy.orm import Session

from agent.naming import Claim, Claims, NamingError, name_at
from agent.wire.naming import INDEX_DIGITS, ContainerNaming
from db.documents.deploy_request import DeployTaskRequest
from db.documents.kubernetes_config import ProjectKubernetes
from db.models import Project
from db.queries.projects import list_claims
from tasks.decisions.deployment_names import deployment_name
from tasks.errors import PlanningError

FIELD = "container_naming"
_ANY_TIME = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
_INDEX = re.compile(rf"(?<![0-9])[1-9][0-9]{{0,{INDEX_DIGITS - 1}}}(?![0-9])")

Place = tuple[str, str]
"""An environment's name, and the version that a client there is brought to."""


def effective_naming(project: Project, request: DeployTaskRequest) -> ContainerNaming | None:
    """The project's naming with what the request overrides; None for a project without one. Raises PlanningError."""
    naming, override = project.container_naming, request.container_naming
    if naming is None or override is None:
        return naming
    changed = {**naming.model_dump(), **override.model_dump(exclude_none=True)}
    try:
        return ContainerNaming.model_validate(changed)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise PlanningError(
            f"cannot name the containers: {field} {first['msg']}", f"{FIELD}.{field}"
        ) from None


def check_type(project: Project, request: DeployTaskRequest) -> None:
    """Refuse what makes no sense for the project's type, or for the operation. Raises PlanningError, naming the field."""
    if project.type != "container":
        for field in ("container_naming", "keep_previous"):
            if getattr(request, field) is not None:
                raise PlanningError(f"project {project.name} deploys no containers: leave it out", field)
    elif request.operation == "rollback" and request.env:
        said = "a rollback starts the container that was kept, which has its environment: leave it out"
        raise PlanningError(said, "env")
    if project.type == "script":
        return
    what = "containers" if project.type == "container" else "to Kubernetes"
    for field in _script_fields(request):
        raise PlanningError(f"project {project.name} deploys {what}, not scripts: leave it out", field)
    if project.type == "kubernetes" and request.env:
        raise PlanningError(
            f"project {project.name} deploys to Kubernetes: its Deployment has the environment", "env"
        )
    if request.operation == "uninstall" and request.container_naming is not None:
        raise PlanningError("an uninstall makes no container that has a name: leave it out", FIELD)


def check_names(
    session: Session, project: Project, request: DeployTaskRequest, places: Sequence[Place]
) -> None:
    """Refuse names that can't be made, or would count as another project's. Raises PlanningError.

    An uninstall makes none, so that what is there can always be taken away.
    """
    if project.type == "kubernetes":
        _check_deployments(project, places)
    if project.type != "container" or request.operation == "uninstall":
        return
    naming = effective_naming(project, request)
    if naming is None:
        raise PlanningError(f"project {project.name} has no container_naming", FIELD)
    claims = list_claims(session)
    for claim in claims:
        if claim.prefix == naming.prefix and claim.project_id != project.id:
            raise PlanningError(
                f"the prefix {naming.prefix} is project {_name_of(session, claim)}'s", f"{FIELD}.prefix"
            )
    index = Claims(claims)
    for name in _names(naming, claims, places):
        owner = index.owner_of(name)
        if owner is not None and owner.project_id != project.id:
            raise PlanningError(
                f"a container named {name} would count as project {_name_of(session, owner)}'s, whose prefix is "
                f"{owner.prefix}: override the prefix or the template, or change one of the two projects' prefixes",
                FIELD,
            )


def _check_deployments(project: Project, places: Sequence[Place]) -> None:
    for environment, _ in places:
        try:
            deployment_name(
                project.kubernetes_config or ProjectKubernetes(), project.container_naming, environment
            )
        except NamingError as error:
            raise PlanningError(
                f"cannot name the Deployment in {environment}: {error}: give kubernetes_config.deployment",
                FIELD,
            ) from None


def _names(naming: ContainerNaming, claims: Sequence[Claim], places: Sequence[Place]) -> Iterator[str]:
    """The first name in each place, and those with an index that ends up in another project's prefix (`shop-2`)."""
    longer = [claim.prefix for claim in claims if claim.prefix.startswith(naming.prefix + naming.separator)]
    indexes = sorted({1} | {int(digits) for prefix in longer for digits in _INDEX.findall(prefix)})
    for environment, version in places:
        for index in indexes:
            try:
                yield name_at(naming, index, environment=environment, version=version, at=_ANY_TIME)
            except NamingError as error:
                raise PlanningError(f"cannot name the containers: {error}", FIELD) from None


def _script_fields(request: DeployTaskRequest) -> Iterator[str]:
    if request.detach_method is not None:
        yield "detach_method"
    if not request.detach_process:
        yield "detach_process"


def _name_of(session: Session, claim: Claim) -> str:
    return session.get_one(Project, claim.project_id).name
