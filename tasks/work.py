"""What a run works on, as values: the deploy task as it was planned, and each of its clients. No row leaves here."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.wire.executions import Operation
from db.documents.plan import PlannedClient
from db.documents.strategy import AutoRollback, FailureStrategy, Strategy
from db.models import Client, DeployResult, DeployTask, Environment, Project
from db.secrets import SecretBox
from tasks.recipes import Recipe, Recipes
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
    forgiven_failures: int = 0
    auto_rollback: AutoRollback = "off"
    schedule_from: datetime | None = None
    schedule_to: datetime | None = None

    @property
    def total(self) -> int:
        """How many clients the plan has."""
        return sum(len(wave) for wave in self.waves)


@dataclass(frozen=True, slots=True)
class ClientWork:
    """One client of the campaign: where its agent is, what is to run there, what became of it so far.

    `url`: empty where the client is not registered any more. `environment`: where that was deleted, the one that the
    deploy task names.
    """

    client_id: str
    url: str
    token: str | None = field(repr=False)
    target_id: str
    environment_id: str
    environment: str
    wave: int
    from_version: str | None
    to_version: str
    recipe: Recipe
    status: str
    attempt: int
    execution_id: str | None
    container_name: str | None = None
    ran: bool = False


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
        forgiven_failures=deploy_task.forgiven_failures,
        auto_rollback=deploy_task.request.auto_rollback,
        schedule_from=deploy_task.request.schedule_from,
        schedule_to=deploy_task.request.schedule_to,
    )


def _environment_name(session: Session, deploy_task: DeployTask) -> str | None:
    """The name of the one environment that the plan touches, or None where there are several."""
    ids = {client.environment_id for client in deploy_task.plan.clients}
    if len(ids) != 1:
        return None
    environment = session.get(Environment, ids.pop())
    return environment.name if environment else None


def load_work(session: Session, deploy_task: DeployTask, secrets: SecretBox) -> dict[str, ClientWork]:
    """Every client of the plan with its result so far, by client id. Tokens are decrypted here, in memory only.

    Raises PermanentTaskError where what is to run there is gone.
    """
    return load_planned(session, deploy_task, deploy_task.plan.clients, secrets)


def load_planned(
    session: Session,
    deploy_task: DeployTask,
    clients: Sequence[PlannedClient],
    secrets: SecretBox,
    *,
    goes_back: bool = False,
    leave_out: tuple[type[Exception], ...] = (),
) -> dict[str, ClientWork]:
    """The same for these clients, each planned as it is given. `goes_back`: by a plan that takes them back.

    A client of which one of the errors `leave_out` is raised is left out, and the error with it.
    """
    mine = DeployResult.deploy_task_id == deploy_task.id
    results = {row.client_id: row for row in session.scalars(select(DeployResult).where(mine))}
    known = select(Client).where(Client.client_id.in_(select(DeployResult.client_id).where(mine)))
    hosts = {row.client_id: row for row in session.scalars(known)}
    recipes = Recipes(session, deploy_task, goes_back=goes_back)
    environments = _environment_names(session, deploy_task)
    works: dict[str, ClientWork] = {}
    for planned in clients:
        with suppress(*leave_out):
            works[planned.client_id] = _client_work(
                planned,
                hosts.get(planned.client_id),
                results[planned.client_id],
                recipe=recipes.of(planned),
                environment=environments.get(planned.environment_id, deploy_task.environment or ""),
                secrets=secrets,
            )
    return works


def _environment_names(session: Session, deploy_task: DeployTask) -> dict[str, str]:
    ids = {client.environment_id for client in deploy_task.plan.clients}
    return {row.id: row.name for row in session.scalars(select(Environment).where(Environment.id.in_(ids)))}


def _client_work(
    planned: PlannedClient,
    host: Client | None,
    result: DeployResult,
    *,
    recipe: Recipe,
    environment: str,
    secrets: SecretBox,
) -> ClientWork:
    return ClientWork(
        client_id=planned.client_id,
        url=host.url if host is not None else "",
        token=secrets.decrypt(host.token_encrypted) if host is not None and host.token_encrypted else None,
        target_id=planned.target_id,
        environment_id=planned.environment_id,
        environment=environment,
        wave=planned.wave,
        from_version=planned.from_version,
        to_version=planned.to_version,
        recipe=recipe,
        status=result.status,
        attempt=result.attempt,
        execution_id=result.execution_id,
        container_name=result.container_name,
        ran=bool(result.ran),
    )
