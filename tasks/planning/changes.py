"""Whether the fleet is still what a plan was made for, and planning anew where it is not."""

from collections.abc import Container, Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from db.documents.plan import PlannedClient
from db.models import DeployResult, DeployTask, Project, Version, utc_now
from db.queries.audit import append_audit
from db.queries.projects import list_environments
from db.queries.versions import versions_by_name
from tasks.decisions.selection import Candidate
from tasks.errors import PlanningError, WrongStateError
from tasks.planning.creating import write_results
from tasks.planning.drafting import draft_deploy_task, places_of
from tasks.planning.fleet import read_members
from tasks.planning.naming import check_names
from tasks.planning.scripts import recipe_sha256, script_sha256

UNSTARTED = ("pending", "scheduled")
"""Statuses in which nothing may have run yet."""


def fleet_changes(session: Session, deploy_task: DeployTask, now: datetime | None = None) -> list[str]:
    """What changed since the plan was made, as sentences, for the clients that are still to be run; sorted by client.

    A client that is gone or moved, is held now, has another version, or whose installation failed meanwhile; a script
    that is another one, or a version that is no longer active; names that would count as another project's by now.
    """
    moment = now or utc_now()
    members = read_members(session, deploy_task.project_id, moment)
    present = {member.candidate.client_id: member.candidate for member in members}
    pending = _pending_attempts(session, deploy_task.id)
    versions = _versions(session, deploy_task)
    reached = versions_by_name(
        session, deploy_task.project_id, {one.to_version for one in deploy_task.plan.clients}
    )
    project = session.get_one(Project, deploy_task.project_id)
    changes: list[str] = list(_version_changes(deploy_task, versions))
    for planned in deploy_task.plan.clients:
        attempts = pending.get(planned.client_id)
        if attempts is None:
            continue
        retried = attempts > 0 or deploy_task.request.include_failed
        changes += _client_changes(planned, present.get(planned.client_id), retried)
        changes += _script_changes(planned, versions)
        changes += _recipe_changes(project, planned, versions, reached)
    return [*changes, *_name_changes(session, project, deploy_task, pending)]


def changed_clients(
    session: Session, deploy_task: DeployTask, client_ids: Container[str], now: datetime
) -> dict[str, str]:
    """Of these clients those that are no more what the plan was made for, and what changed; who is held is not told."""
    members = read_members(session, deploy_task.project_id, now)
    present = {member.candidate.client_id: replace(member.candidate, held=None) for member in members}
    wanted = [one for one in deploy_task.plan.clients if one.client_id in client_ids]
    said = {
        one.client_id: list(_client_changes(one, present.get(one.client_id), retried=True)) for one in wanted
    }
    return {client_id: changes[0] for client_id, changes in said.items() if changes}


def replan(session: Session, deploy_task: DeployTask, now: datetime, who: str) -> DeployTask:
    """Select and plan anew from the same request, under the same id. Only before any client was touched.

    Raises PlanningError as at creation, and WrongStateError once an attempt was made.
    """
    results = session.scalars(select(DeployResult).where(DeployResult.deploy_task_id == deploy_task.id))
    if deploy_task.status not in UNSTARTED or any(result.attempt > 0 for result in results):
        raise WrongStateError(f"cannot plan deploy task {deploy_task.id} anew: clients were already touched")
    draft = draft_deploy_task(session, deploy_task.request, now)
    old_digest = deploy_task.plan.digest
    session.execute(delete(DeployResult).where(DeployResult.deploy_task_id == deploy_task.id))
    session.expire(deploy_task)
    deploy_task.plan, deploy_task.skipped = draft.plan, draft.skipped
    deploy_task.selected_from_version = draft.selected_from_version
    deploy_task.strategy, deploy_task.environment = draft.strategy, draft.environment
    write_results(session, deploy_task.id, draft.plan.clients)
    append_audit(
        session,
        now=now,
        who=who,
        action="deploy_task.replan",
        subject=f"deploy task {deploy_task.id}",
        detail={"from": old_digest, "to": draft.plan.digest, "clients": len(draft.client_ids)},
        project_id=deploy_task.project_id,
        deploy_task_id=deploy_task.id,
    )
    session.flush()
    return deploy_task


def _pending_attempts(session: Session, deploy_task_id: str) -> dict[str, int]:
    query = select(DeployResult.client_id, DeployResult.attempt).where(
        DeployResult.deploy_task_id == deploy_task_id, DeployResult.status == "pending"
    )
    return {row.client_id: row.attempt for row in session.execute(query)}


def _versions(session: Session, deploy_task: DeployTask) -> dict[str, Version]:
    wanted = sorted({client.version_id for client in deploy_task.plan.clients})
    return {row.id: row for row in session.scalars(select(Version).where(Version.id.in_(wanted)))}


def _version_changes(deploy_task: DeployTask, versions: Mapping[str, Version]) -> Iterator[str]:
    version = versions.get(deploy_task.version_id or "")
    if version is not None and version.status != "active" and deploy_task.operation != "uninstall":
        yield f"version {version.version} is {version.status} now"


def _name_changes(
    session: Session, project: Project, deploy_task: DeployTask, pending: Container[str]
) -> Iterator[str]:
    clients = [one for one in deploy_task.plan.clients if one.client_id in pending]
    places = places_of(clients, list_environments(session, project.id))
    try:
        check_names(session, project, deploy_task.request, places)
    except PlanningError as error:
        yield str(error)


def _client_changes(planned: PlannedClient, now: Candidate | None, retried: bool) -> Iterator[str]:
    name = planned.client_id
    if now is None or now.target_id != planned.target_id:
        yield f"{name} is gone"
        return
    if now.environment_id != planned.environment_id:
        yield f"{name} is in another environment"
    if now.held is not None:
        yield f"{name} is held: {now.held}"
    if now.installed != planned.from_version:
        yield f"{name} has {now.installed or 'nothing'}, not {planned.from_version or 'nothing'}"
    elif now.status == "failed" and not retried:
        yield f"{name}'s installation is failed now"


def _recipe_changes(
    project: Project,
    planned: PlannedClient,
    versions: Mapping[str, Version],
    reached: Mapping[str, Version],
) -> Iterator[str]:
    version = versions.get(planned.version_id)
    if version is None or planned.recipe_sha256 is None:
        return
    if recipe_sha256(project, version, reached.get(planned.to_version)) != planned.recipe_sha256:
        yield f"how {planned.client_id}'s {planned.script_field} runs, or what proves it, is another one now"


def _script_changes(planned: PlannedClient, versions: Mapping[str, Version]) -> Iterator[str]:
    version = versions.get(planned.version_id)
    if version is None or script_sha256(version, planned.script_field) != planned.script_sha256:
        yield f"{planned.client_id}'s {planned.script_field} is another one now"
