"""What only a Kubernetes project has, and what it must be like."""

from agent.wire.naming import ContainerNaming
from api.errors import invalid
from db.documents.kubernetes_config import ProjectKubernetes
from db.models import Project
from tasks.decisions.deployment_names import naming_fault

FIELD = "kubernetes_config"


def set_kubernetes(project: Project, config: ProjectKubernetes | None) -> None:
    """Give a Kubernetes project its configuration, or the default one. Raises Refused (422) for another project's."""
    if project.type == "kubernetes":
        project.kubernetes_config = config or ProjectKubernetes()
    elif config is not None:
        raise invalid(FIELD, "only a Kubernetes project has it: leave it out")


def check_naming(naming: ContainerNaming) -> None:
    """Raises Refused (422) where it names no Deployments."""
    fault = naming_fault(naming)
    if fault is not None:
        field, message = fault
        raise invalid(f"container_naming.{field}", message)
