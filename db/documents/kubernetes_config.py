"""Where a project's Deployment is, and how its pods are told from others and watched."""

from typing import Annotated

from pydantic import Field, StrictBool

from agent.wire.base import Request
from agent.wire.pods import Namespace, ObjectName

LabelName = Annotated[
    str,
    Field(
        max_length=317,
        pattern=r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$",
    ),
]
LabelValue = Annotated[
    str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$")
]
"""https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set"""


class ProjectKubernetes(Request):
    """A project's Deployments, of which a version sets the image.

    `deployment` None: it is called as `container_naming` says. `container`: the one that gets the image, needed where the
    Deployment has several. `replicas` None: it keeps its own. `match_labels`: a pod of the namespace that has them all is
    the project's, whatever it is called. A pod that isn't ready for `alert_for_s` seconds is an alert.
    """

    namespace: Namespace = "default"
    deployment: ObjectName | None = None
    container: Namespace | None = None
    replicas: Annotated[int, Field(strict=True, ge=1, le=10_000)] | None = None
    progress_deadline_s: Annotated[int, Field(strict=True, ge=1, le=86_400)] | None = None
    match_labels: Annotated[dict[LabelName, LabelValue], Field(max_length=16)] = Field(default_factory=dict)
    alert_on_failure: StrictBool = True
    alert_for_s: Annotated[int, Field(strict=True, ge=0, le=86_400)] = 300
