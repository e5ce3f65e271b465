"""What a run works on, as values: the deploy task as it was planned, and each of its clients. No row leaves here."""

from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.wire.executions import DetachMethod, Operation
from agent.wire.processes import ProcessConfig
from db.documents.evidence import EvidenceConfig
from db.documents.plan import PlannedClient
from db.documents.strategy import FailureStrategy, Strategy
from db.models import Client, DeployResult, DeployTask, Environment, Project, Version
from db.secrets import SecretBox
from tasks.errors import PermanentTaskError
from tasks.run_names import common_from_version, run_name, run_tags


@dataclass(frozen=True, slots=True)
class Release:
    """One deploy task's campaign: what the waves are, and what stops it."""

    deploy_task_id: str
    project_id: str
    project: str
    environment: str | None
    operation: Operation
    strategy: Strategy
    failure_strategy: FailureStrategy
    waves: tuple[tuple[str, ...], ...]
    skipped: tuple[tuple[str, str], ...]
    name: str
    tags: list[str]

    @property
    def total(self) -> int:
        """How many clients the plan has."""
        return sum(len(wave) for wave in self.waves)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a version is brought to a host and proven there; many clients share one. Scripts may hold secrets."""

    script: str = field(repr=False)
    work_dir: str
    interpreter: str
    run_as: str | None
    timeout_s: int
    env: dict[str, str] = field(repr=False)
    detach_process: bool
    detach_method: DetachMethod | None
    process_config: ProcessConfig | None
    evidence: EvidenceConfig


@dataclass(frozen=True, slots=True)
class ClientWork:
    """One client of the campaign: where its agent is, what is to run there, what became of it so far."""

    client_id: str
    url: str
    token: str | None = field(repr=False)
    target_id: str
    environment_id: str
    wave: int
    from_version: str | None
    to_version: str
    recipe: Recipe
    status: str
    attempt: int
    execution_id: str | None


def load_release(session: Session, deploy_task: DeployTask) -> Release:
    """The campaign, and what its runs are called."""
    project = session.get_one(Project, deploy_task.project_id)
    environment = _environment_name(session, deploy_task)
    versions = {client.to_version for client in deploy_task.plan.clients}
    to_version = deploy_task.version or (versions.pop() if len(versions) == 1 else None)
    from_version = deploy_task.selected_from_version or common_from_version(deploy_task.plan)
    return Release(
        deploy_task_id=deploy_task.id,
        project_id=project.id,
        project=project.name,
        environment=environment,
        operation=deploy_task.operation,  # type: ignore[arg-type]  # the column holds only operations
        strategy=deploy_task.strategy,
        failure_strategy=deploy_task.failure_strategy,  # type: ignore[arg-type]  # likewise
        waves=deploy_task.plan.waves,
        skipped=tuple((one.client_id, one.detail or one.reason) for one in deploy_task.skipped),
        name=run_name(project.name, from_version, to_version, environment),
        tags=run_tags(project.name, environment, deploy_task.operation),
    )


def _environment_name(session: Session, deploy_task: DeployTask) -> str | None:
    """The name of the one environment that the plan touches, or None where there are several."""
    ids = {client.environment_id for client in deploy_task.plan.clients}
    if len(ids) != 1:
        return None
    environment = session.get(Environment, ids.pop())
    return environment.name if environment else None


def load_work(session: Session, deploy_task: DeployTask, secrets: SecretBox) -> dict[str, ClientWork]:
    """Every client of the plan with its result so far, by client id. Tokens are decrypted here, in memory only."""
    results = {
        row.client_id: row
        for row in session.scalars(select(DeployResult).where(DeployResult.deploy_task_id == deploy_task.id))
    }
    hosts = {
        row.client_id: row
        for row in session.scalars(
            select(Client).where(
                Client.client_id.in_(
                    select(DeployResult.client_id).where(DeployResult.deploy_task_id == deploy_task.id)
                )
            )
        )
    }
    recipes = _Recipes(session, deploy_task)
    return {
        planned.client_id: _client_work(
            planned, hosts.get(planned.client_id), results[planned.client_id], recipes.of(planned), secrets
        )
        for planned in deploy_task.plan.clients
    }


def _client_work(
    planned: PlannedClient, host: Client | None, result: DeployResult, recipe: Recipe, secrets: SecretBox
) -> ClientWork:
    if host is None:
        raise PermanentTaskError(f"cannot upgrade {planned.client_id}: the client is not registered any more")
    return ClientWork(
        client_id=planned.client_id,
        url=host.url,
        token=secrets.decrypt(host.token_encrypted) if host.token_encrypted else None,
        target_id=planned.target_id,
        environment_id=planned.environment_id,
        wave=planned.wave,
        from_version=planned.from_version,
        to_version=planned.to_version,
        recipe=recipe,
        status=result.status,
        attempt=result.attempt,
        execution_id=result.execution_id,
    )


class _Recipes:
    """Each (script's version, version reached) pair is looked up once."""

    def __init__(self, session: Session, deploy_task: DeployTask) -> None:
        self._session = session
        self._task = deploy_task
        self._known: dict[tuple[str, str, str], Recipe] = {}

    def of(self, planned: PlannedClient) -> Recipe:
        """How this client is brought to its version. Raises PermanentTaskError where the script is gone."""
        key = (planned.version_id, planned.to_version, planned.script_field)
        if key not in self._known:
            self._known[key] = self._make(planned)
        return self._known[key]

    def _make(self, planned: PlannedClient) -> Recipe:
        runs = self._session.get(Version, planned.version_id)
        script = getattr(runs, planned.script_field) if runs else None
        if runs is None or not script or not runs.work_dir:
            raise PermanentTaskError(
                f"cannot upgrade {planned.client_id}: the version it was planned with has no {planned.script_field}"
            )
        reached = self._reached(planned) or runs
        request = self._task.request
        return Recipe(
            script=script,
            work_dir=runs.work_dir,
            interpreter=runs.interpreter,
            run_as=runs.run_as,
            timeout_s=request.timeout_s or runs.timeout_s,
            env={**runs.env, **request.env},
            detach_process=request.detach_process,
            detach_method=request.detach_method or runs.detach_method,  # type: ignore[arg-type]  # the column holds only methods
            process_config=reached.process_config,
            evidence=reached.evidence or EvidenceConfig(),
        )

    def _reached(self, planned: PlannedClient) -> Version | None:
        """The version that will be there afterwards: its rules and its probe prove it, whoever's script ran."""
        return self._session.scalar(
            select(Version).where(
                Version.project_id == self._task.project_id, Version.version == planned.to_version
            )
        )
