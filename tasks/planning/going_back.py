"""Taking clients of a deploy task back, each to the version that it came from: whether that can be, and with which script."""

from collections.abc import Container, Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.documents.deploy_request import DeployTaskRequest
from db.documents.plan import PlannedClient
from db.models import DeployResult, DeployTask, Installation, Project, Version
from db.queries.versions import versions_by_name
from tasks.decisions.selection import Candidate
from tasks.errors import PlanningError
from tasks.planning.scripts import choose_script

FIELD = "auto_rollback"
LEFT_SOMETHING = ("success", "failed")
"""Results after which something may be there that can be taken back. Where nobody knows what runs, nothing is."""


def check_way_back(
    session: Session, project: Project, request: DeployTaskRequest, clients: Sequence[PlannedClient]
) -> None:
    """Raises PlanningError where `auto_rollback` is asked for and a client could not be taken back."""
    if request.failure_strategy != "abort" and request.auto_rollback in ("wave", "all"):
        why = {
            "continue": "continue never stops to go back",
            "pause": "pause asks a person, who says roll back (hoist undo) or not",
        }[request.failure_strategy]
        said = f"auto_rollback {request.auto_rollback} needs failure_strategy abort: {why}"
        raise PlanningError(said, FIELD)
    if request.auto_rollback == "off":
        return
    if request.operation == "uninstall":
        raise PlanningError("cannot take an uninstalled client back: auto_rollback has to be off", FIELD)
    versions = _versions(session, project.id, clients)
    for planned in clients:
        if planned.from_version is None:
            raise PlanningError(
                f"cannot take {planned.client_id} back: nothing is installed there to go back to", FIELD
            )
        try:
            plan_back(project, planned, versions)
        except PlanningError as error:
            raise PlanningError(str(error), FIELD) from error


def plan_back(project: Project, planned: PlannedClient, versions: Mapping[str, Version]) -> PlannedClient:
    """The client's way back, as a plan has it. Raises PlanningError where there is none."""
    assert planned.from_version is not None
    here = Candidate(
        planned.client_id,
        planned.target_id,
        planned.environment_id,
        version=planned.to_version,
        status="installed",
    )
    script = choose_script(project, here, "rollback", planned.from_version, versions)
    return planned.model_copy(
        update={
            "from_version": planned.to_version,
            "to_version": planned.from_version,
            "version_id": script.version.id,
            "script_field": script.field,
            "script_sha256": script.sha256,
        }
    )


def ways_back(session: Session, task: DeployTask, *, again: bool = False) -> dict[str, PlannedClient]:
    """Whom of the deploy task's clients can be taken back now, and how.

    Something ran there and ended, it had a version before, it has not been taken back yet (or that is under way, or to be
    tried again), and it is as the deploy task left it. `again`: a person asks: those, too, whom that was tried with,
    and did not work. Raises PlanningError where it uninstalled.
    """
    if task.operation == "uninstall":
        raise PlanningError(
            f"cannot roll deploy task {task.id} back: it uninstalled, and an uninstalled client is not taken back; "
            "install the version there again"
        )
    project = session.get_one(Project, task.project_id)
    planned = {one.client_id: one for one in task.plan.clients if one.from_version is not None}
    rows = session.execute(
        select(DeployResult, Installation)
        .outerjoin(Installation, Installation.target_id == DeployResult.target_id)
        .where(DeployResult.deploy_task_id == task.id, DeployResult.status.in_(LEFT_SOMETHING))
    )
    able = [
        planned[result.client_id]
        for result, installation in rows
        if result.client_id in planned
        and _is_due(result, again)
        and _is_as_left(result, installation, planned[result.client_id])
    ]
    versions = _versions(session, task.project_id, able)
    back: dict[str, PlannedClient] = {}
    for one in able:
        try:
            back[one.client_id] = plan_back(project, one, versions)
        except PlanningError:
            continue
    return back


def try_again(session: Session, task: DeployTask, able: Container[str]) -> None:
    """Of those that are `able` to, have them taken back again whom that did not work with."""
    for result in session.scalars(select(DeployResult).where(DeployResult.deploy_task_id == task.id)):
        state = result.rollback
        if state is not None and state.ended_without_success and result.client_id in able:
            result.rollback = state.again()
    session.flush()


def _is_due(result: DeployResult, again: bool) -> bool:
    """Whether its way back is still to come, or under way."""
    state = result.rollback
    if not result.ran:
        return False
    return state is None or state.is_open or (again and state.ended_without_success)


def _is_as_left(result: DeployResult, installation: Installation | None, planned: PlannedClient) -> bool:
    """Whether what it brought is there, or what its failure, forwards or back, made of what was there."""
    if installation is None:
        return False
    brought = installation.status == "installed" and installation.version == planned.to_version
    broken = installation.status == "failed" and installation.deploy_task_id == result.deploy_task_id
    state = result.rollback
    tried = state is not None and (state.ended_without_success or state.tries > 1)
    if result.status == "success":
        return brought
    return broken or (tried and brought)


def _versions(session: Session, project_id: str, clients: Sequence[PlannedClient]) -> dict[str, Version]:
    names = {one.to_version for one in clients} | {one.from_version for one in clients if one.from_version}
    return versions_by_name(session, project_id, names)
