"""How a version is brought to a host and proven there: by its scripts, by its container, or by its image in a cluster."""

from dataclasses import dataclass, field
from typing import ClassVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.wire.containers import MAX_STOP_TIMEOUT_S, DeployConfig
from agent.wire.executions import DetachMethod
from agent.wire.naming import ContainerNaming
from agent.wire.processes import ProcessConfig
from db.documents.evidence import EvidenceConfig
from db.documents.kubernetes_config import ProjectKubernetes
from db.documents.plan import PlannedClient
from db.models import DeployTask, Project, Version
from tasks.errors import PermanentTaskError
from tasks.planning.naming import effective_naming

AFTER_TAKEOVER_S = MAX_STOP_TIMEOUT_S + 600.0
"""The previous container may take so long to stop, the new one to get well again (see agent/containers/swap/story.py)."""
AFTER_FAILURE_S = 1500.0
"""The image from before may take so long to be rolled out again: 15 minutes, and two for each of five times that the cluster
is away meanwhile (see agent/pods/rollout/story.py)."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What all kinds have; many clients share one. `work_dir`, `run_as`: where and as whom probes and checks run.

    `noun`: what its execution is called in messages.
    """

    noun: ClassVar[str] = "deployment"
    timeout_s: int
    work_dir: str
    run_as: str | None
    process_config: ProcessConfig | None
    evidence: EvidenceConfig

    @property
    def longest_s(self) -> float:
        """When its agent has ended the execution at the latest."""
        return self.timeout_s


@dataclass(frozen=True, slots=True)
class ScriptRecipe(Recipe):
    """A script that the agent runs. It and its environment may hold secrets."""

    noun: ClassVar[str] = "script"
    script: str = field(repr=False)
    interpreter: str
    env: dict[str, str] = field(repr=False)
    detach_process: bool
    detach_method: DetachMethod | None


@dataclass(frozen=True, slots=True)
class ContainerRecipe(Recipe):
    """A container that the agent puts in the place of the one before it. Its environment may hold secrets."""

    noun: ClassVar[str] = "container deployment"
    deploy_config: DeployConfig = field(repr=False)
    naming: ContainerNaming
    keep_previous: int | None = None

    @property
    def longest_s(self) -> float:
        """Once the new one has taken over no time ends it: the one before is stopped in its own, whatever that was."""
        return self.timeout_s + AFTER_TAKEOVER_S


@dataclass(frozen=True, slots=True)
class KubernetesRecipe(Recipe):
    """An image that the agent sets in a Deployment of its cluster, which is called as `config` or `naming` say."""

    noun: ClassVar[str] = "Kubernetes deployment"
    image: str
    config: ProjectKubernetes
    naming: ContainerNaming | None

    @property
    def longest_s(self) -> float:
        """A rollout that fails at the last moment is undone after that, which `timeout_s` does not end."""
        return self.timeout_s + AFTER_FAILURE_S


class Recipes:
    """Each (script's or container's version, version reached) pair is looked up once."""

    def __init__(self, session: Session, deploy_task: DeployTask, *, goes_back: bool = False) -> None:
        """`goes_back`: to what was there before, on which the deploy task's own `env` has no bearing."""
        self._session = session
        self._task = deploy_task
        self._goes_back = goes_back
        self._known: dict[tuple[str, str, str], Recipe] = {}

    def of(self, planned: PlannedClient) -> Recipe:
        """How this client is brought to its version. Raises PermanentTaskError where that is gone."""
        key = (planned.version_id, planned.to_version, planned.script_field)
        if key not in self._known:
            self._known[key] = self._make(planned)
        return self._known[key]

    def _make(self, planned: PlannedClient) -> Recipe:
        runs = self._session.get(Version, planned.version_id)
        source = getattr(runs, planned.script_field) if runs else None
        if runs is None or not source:
            raise PermanentTaskError(
                f"cannot upgrade {planned.client_id}: the version it was planned with has no {planned.script_field}"
            )
        reached = self._reached(planned) or runs
        if isinstance(source, DeployConfig):
            project = self._session.get_one(Project, self._task.project_id)
            if project.type == "kubernetes":
                return self._of_cluster(source, project, runs, reached)
            return self._of_container(source, runs, reached)
        return self._of_script(source, runs, reached)

    def _of_script(self, script: str, runs: Version, reached: Version) -> ScriptRecipe:
        request = self._task.request
        return ScriptRecipe(
            script=script,
            work_dir=runs.work_dir or "/",
            interpreter=runs.interpreter,
            run_as=runs.run_as,
            timeout_s=request.timeout_s or runs.timeout_s,
            env={**runs.env, **self._own_env()},
            detach_process=request.detach_process,
            detach_method=request.detach_method or runs.detach_method,  # type: ignore[arg-type]  # the column holds only methods
            process_config=reached.process_config,
            evidence=reached.evidence or EvidenceConfig(),
        )

    def _of_container(self, config: DeployConfig, runs: Version, reached: Version) -> ContainerRecipe:
        request = self._task.request
        naming = effective_naming(self._session.get_one(Project, self._task.project_id), request)
        if naming is None:
            raise PermanentTaskError(
                "cannot name the containers: the project has no container_naming any more"
            )
        return ContainerRecipe(
            deploy_config=config.model_copy(update={"env": {**config.env, **self._own_env()}}),
            naming=naming,
            keep_previous=request.keep_previous,
            work_dir="/",
            run_as=None,
            timeout_s=request.timeout_s or runs.timeout_s,
            process_config=reached.process_config,
            evidence=reached.evidence or EvidenceConfig(),
        )

    def _of_cluster(
        self, config: DeployConfig, project: Project, runs: Version, reached: Version
    ) -> KubernetesRecipe:
        return KubernetesRecipe(
            image=config.image,
            config=project.kubernetes_config or ProjectKubernetes(),
            naming=project.container_naming,
            work_dir="/",
            run_as=None,
            timeout_s=self._task.request.timeout_s or runs.timeout_s,
            process_config=reached.process_config,
            evidence=reached.evidence or EvidenceConfig(),
        )

    def _own_env(self) -> dict[str, str]:
        return {} if self._goes_back else self._task.request.env

    def _reached(self, planned: PlannedClient) -> Version | None:
        """The version that will be there afterwards: its rules and its probe prove it, whoever's script ran."""
        return self._session.scalar(
            select(Version).where(
                Version.project_id == self._task.project_id, Version.version == planned.to_version
            )
        )
