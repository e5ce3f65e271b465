"""A dry run: the plan, how the scripts differ, and whether each client is ready. Nothing is written, nothing is started."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed
from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.client import agent_http_client
from agent.transport import caller_tls
from db.documents.deploy_request import DeployTaskRequest
from db.documents.evidence import EvidenceConfig
from db.documents.plan import PlannedClient
from db.models import Client, Project, Version, utc_now
from db.queries.deploy_tasks import get_deploy_task
from db.queries.versions import versions_by_name
from db.secrets import load_secret_key
from db.session import open_database
from tasks import artifacts
from tasks.decisions.preflight import Need, Readiness
from tasks.differences import script_differences
from tasks.errors import PlanningError
from tasks.form import UpgradeForm, request_of
from tasks.planning import fleet_changes, preview_deploy_task
from tasks.planning.going_back import plan_back
from tasks.planning.strategies import fill_in_strategy
from tasks.preflight import Asked, ask_readiness
from tasks.resolve_clients import CREATED_BY
from tasks.run_names import common_from_version, run_name
from tasks.run_texts import PreflightRow, plan_text
from tasks.work import load_release

SHARD = 50


@dataclass(frozen=True, slots=True)
class _Plan:
    """What would be done."""

    text: str
    clients: tuple[PlannedClient, ...]
    asked: tuple[Asked, ...]
    ways_back: dict[str, str]


async def show_plan(deploy_task_id: str | None, form: UpgradeForm | None) -> State[Any]:
    """The plan as an artifact, and a table of who is ready; who is not is in the state's message."""
    plan = await asyncio.to_thread(_read_plan, deploy_task_id, form)
    run = str(flow_run.id).lower()
    await artifacts.show_plan(plan.text, key=f"upgrade-plan-{run}")
    get_run_logger().info("%s", plan.text)
    ready = await _ask_all(plan.asked)
    rows = [_row(one, ready[one.client_id], plan.ways_back[one.client_id]) for one in plan.clients]
    await artifacts.show_preflight(rows, key=f"upgrade-preflight-{run}")
    return Completed(message=_said(rows))


async def _ask_all(asked: Sequence[Asked]) -> dict[str, Readiness]:
    ready: dict[str, Readiness] = {}
    async with agent_http_client(tls=caller_tls()) as http:
        for start in range(0, len(asked), SHARD):
            shard = asked[start : start + SHARD]
            ready |= await ask_readiness(f"clients {start + 1}–{start + len(shard)}", shard, http)
    return ready


def _row(planned: PlannedClient, readiness: Readiness, way_back: str) -> PreflightRow:
    return PreflightRow(
        client_id=planned.client_id,
        wave=planned.wave,
        from_version=planned.from_version,
        to_version=planned.to_version,
        readiness=readiness,
        way_back=way_back,
    )


def _said(rows: Sequence[PreflightRow]) -> str:
    unready = [row.client_id for row in rows if row.readiness.problems]
    if not unready:
        return f"dry run: all {len(rows)} clients are ready; nothing was written"
    names = ", ".join(unready[:10]) + (f" and {len(unready) - 10} more" if len(unready) > 10 else "")
    return f"dry run: {len(unready)} of {len(rows)} clients are not ready ({names}); nothing was written"


def _read_plan(deploy_task_id: str | None, form: UpgradeForm | None) -> _Plan:
    database = open_database()
    try:
        with database.read() as session:
            if form is not None:
                return _of_form(session, form)
            assert deploy_task_id is not None
            return _of_task(session, deploy_task_id)
    finally:
        database.close()


def _of_form(session: Session, form: UpgradeForm) -> _Plan:
    request = fill_in_strategy(session, request_of(form, created_by=CREATED_BY))
    draft = preview_deploy_task(session, request, utc_now())
    name = run_name(draft.project_name, common_from_version(draft.plan), draft.version, draft.environment)
    skipped = [(one.client_id, one.detail or one.reason) for one in draft.skipped]
    project = session.get_one(Project, draft.project_id)
    text = plan_text(name, draft.plan.waves, skipped, [])
    return _plan(session, project, request, draft.plan.clients, text)


def _of_task(session: Session, deploy_task_id: str) -> _Plan:
    task = get_deploy_task(session, deploy_task_id)
    release = load_release(session, task)
    project = session.get_one(Project, task.project_id)
    text = plan_text(release.name, release.waves, release.skipped, fleet_changes(session, task))
    return _plan(session, project, task.request, task.plan.clients, text)


def _plan(
    session: Session,
    project: Project,
    request: DeployTaskRequest,
    clients: tuple[PlannedClient, ...],
    text: str,
) -> _Plan:
    differences = "\n\n".join(script_differences(session, project.id, clients))
    return _Plan(
        f"{text}\n\n## What runs\n\n{differences}" if differences else text,
        clients,
        _asked(session, project, request, clients),
        _ways_back(session, project, clients),
    )


def _asked(
    session: Session, project: Project, request: DeployTaskRequest, clients: Sequence[PlannedClient]
) -> tuple[Asked, ...]:
    secrets = load_secret_key()
    ids = [one.client_id for one in clients]
    hosts = {row.client_id: row for row in session.scalars(select(Client).where(Client.client_id.in_(ids)))}
    reached = versions_by_name(session, project.id, {one.to_version for one in clients})
    asked = []
    for planned in clients:
        host, runs = hosts.get(planned.client_id), session.get_one(Version, planned.version_id)
        proven = reached.get(planned.to_version, runs)
        need = Need(
            planned.client_id,
            request.operation,
            proven.evidence or EvidenceConfig(),
            runs.run_as,
            container=project.type == "container",
            kubernetes=project.type == "kubernetes",
            detach_method=request.detach_method or runs.detach_method,  # type: ignore[arg-type]  # the column holds only methods
        )
        token = secrets.decrypt(host.token_encrypted) if host and host.token_encrypted else None
        asked.append(Asked(host.url if host else None, token, need))
    return tuple(asked)


def _ways_back(session: Session, project: Project, clients: Sequence[PlannedClient]) -> dict[str, str]:
    names = {one.to_version for one in clients} | {one.from_version for one in clients if one.from_version}
    versions = versions_by_name(session, project.id, names)
    return {one.client_id: _way_back(project, one, versions) for one in clients}


def _way_back(project: Project, planned: PlannedClient, versions: dict[str, Version]) -> str:
    if planned.from_version is None:
        return "none: nothing is installed there"
    try:
        back = plan_back(project, planned, versions)
    except PlanningError as error:
        return f"none: {error}"
    owner = next((one.version for one in versions.values() if one.id == back.version_id), "?")
    return f"{planned.from_version}, by the {back.script_field} of {owner}"
