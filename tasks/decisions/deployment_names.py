"""What a project's Deployment is called in an environment: as its `kubernetes_config` says, or by its naming (DNS-1123). Pure."""

from datetime import UTC, datetime

from agent.naming import NamingError, name_at
from agent.wire.naming import ContainerNaming
from db.documents.kubernetes_config import ProjectKubernetes

PREFIX_AND_ENV = "${PREFIX}-${ENV}"
CHANGING = ("VERSION", "TIMESTAMP", "DATE", "TIME", "INDEX")
"""What a Deployment's name can't have: it is the same one for every version."""
_ANY_TIME = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
_ENVIRONMENT = "prod"


def deployment_name(config: ProjectKubernetes, naming: ContainerNaming | None, environment: str) -> str:
    """The Deployment's name: `shop-prod`, unless it is told otherwise. Raises NamingError."""
    if config.deployment is not None:
        return config.deployment
    if naming is None:
        raise NamingError("the project has neither kubernetes_config.deployment nor container_naming")
    stable = naming.model_copy(update={"template": naming.template or _shape(naming)})
    return name_at(stable, 1, environment=environment, version="", at=_ANY_TIME, rule="dns-1123")


def naming_fault(naming: ContainerNaming) -> tuple[str, str] | None:
    """The field that makes it no naming for Deployments, and why; None where it is one."""
    if naming.separator != "-":
        return "separator", "a Kubernetes name has '-' alone between its parts"
    if naming.include_ver:
        return "include_ver", "a Deployment is called the same in every version"
    used = {name for kind, name in naming.tokens() if kind == "variable"} if naming.template else set()
    if used & set(CHANGING):
        return "template", f"a Deployment's name has none of {', '.join(CHANGING)}"
    try:
        name = deployment_name(ProjectKubernetes(), naming, _ENVIRONMENT)
    except NamingError as error:
        return "prefix", str(error)
    if not name.startswith(naming.prefix):
        return "prefix", "must be small letters, digits and '-', as Kubernetes has it (RFC 1123)"
    return None


def _shape(naming: ContainerNaming) -> str:
    return PREFIX_AND_ENV if naming.include_env else "${PREFIX}"
