"""Projects and their environments, on the wire."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictBool

from agent.wire.base import Request
from agent.wire.naming import ContainerNaming
from api.schemas.base import Description, Name, ProjectName, Resource, unset
from db.documents.container_config import ContainerConfig
from db.documents.kubernetes_config import ProjectKubernetes
from db.documents.release_window import ReleaseWindow
from db.documents.strategy import Strategy


class ProjectCreate(Request):
    """A piece of software. Its name is as good as its id in addresses."""

    name: ProjectName = Field(examples=["shop"])
    type: Literal["script", "container", "kubernetes"]
    description: Description | None = None
    default_strategy: Strategy | None = Field(None, description="For deploy tasks that bring none.")
    container_naming: ContainerNaming | None = Field(
        None,
        description="A container or Kubernetes project that brings none gets one, its prefix made of its name.",
    )
    container_config: ContainerConfig | None = Field(None, description="How its containers are watched.")
    kubernetes_config: ProjectKubernetes | None = Field(
        None, description="Of a Kubernetes project: where its Deployment is, and how its pods are watched."
    )


class ProjectChange(Request):
    """What is sent is changed, what is not stays; null empties a field that may be empty."""

    name: ProjectName = Field(default_factory=unset)
    description: Description | None = None
    default_strategy: Strategy | None = None
    container_naming: ContainerNaming | None = None
    container_config: ContainerConfig | None = None
    kubernetes_config: ProjectKubernetes | None = None


class ProjectAnswer(Resource):
    """A project."""

    name: str
    type: str
    description: str | None
    default_strategy: Strategy | None
    container_naming: ContainerNaming | None
    container_config: ContainerConfig | None
    kubernetes_config: ProjectKubernetes | None


def _is_no_star(name: str) -> str:
    if name == "*":
        raise ValueError('"*" means all environments: choose another name')
    return name


class EnvironmentCreate(Request):
    """A place that a project's targets are in: prod, staging."""

    name: Annotated[Name, AfterValidator(_is_no_star)] = Field(examples=["prod"])
    description: Description | None = None
    require_approval: StrictBool = Field(
        False,
        description="A deploy task waits before its first client until another token than its creator's approves it.",
    )
    release_window: ReleaseWindow | None = Field(None, description="No wave is begun outside.")


class EnvironmentChange(Request):
    """What is sent is changed, what is not stays; null empties a field that may be empty."""

    description: Description | None = None
    require_approval: StrictBool = Field(default_factory=unset)
    release_window: ReleaseWindow | None = None


class EnvironmentAnswer(Resource):
    """An environment."""

    project_id: str
    name: str
    description: str | None
    require_approval: bool
    release_window: ReleaseWindow | None
