"""Installations: what is where, and what becomes of it when a client's release ends.

contracts.md, "Installation after a failure": an unreachable client's stays as it was (nothing is called then); a script
or evidence that failed marks it `failed`, with its version and times unchanged; only success writes a version.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db.documents.evidence import Evidence
from db.models import Installation, InstallationEvent, Target
from db.queries.paging import page_of
from db.queries.projects import find_environment


def list_installations(
    session: Session,
    project_id: str,
    *,
    version: str | None = None,
    environment: str | None = None,
    status: str | None = None,
    limit: int | None = 100,
    cursor: str | None = None,
) -> Sequence[Installation]:
    """A project's installations, oldest first; `environment` is a name or an id, the cursor the last one's id."""
    query = select(Installation).where(Installation.project_id == project_id)
    if version is not None:
        query = query.where(Installation.version == version)
    if status is not None:
        query = query.where(Installation.status == status)
    if environment is not None:
        named = find_environment(session, project_id, environment)
        if named is None:
            return []
        query = query.where(Installation.environment_id == named.id)
    return page_of(session, query, Installation.id, limit=limit, cursor=cursor)


def find_installation(session: Session, target_id: str) -> Installation | None:
    """What the target has."""
    return session.scalar(select(Installation).where(Installation.target_id == target_id))


def adopt_installation(
    session: Session, target: Target, version: str, installed_at: datetime, now: datetime
) -> tuple[Installation, bool]:
    """Record what is there already; answers the installation, and whether it is new. `previous_version` is cleared."""
    installation = find_installation(session, target.id)
    created = installation is None
    if installation is None:
        installation = _new(session, target, version, installed_at)
    installation.version, installation.previous_version, installation.status = version, None, "installed"
    installation.observed_version, installation.evidence, installation.deploy_task_id = None, None, None
    installation.installed_at = installed_at
    installation.last_updated_at = now
    _append_event(session, installation, now)
    return installation, created


def record_success(
    session: Session,
    *,
    target_id: str,
    version: str,
    now: datetime,
    deploy_task_id: str | None,
    evidence: Evidence | None = None,
    rolled_back: bool = False,
) -> Installation:
    """The version was proven on the target: it has it now, and what it had before is its previous version.

    After a rollback the version that was left is not anybody's previous version: it is cleared on all of the
    project's installations of which it was, and this one has none.
    """
    target = session.get_one(Target, target_id)
    installation = find_installation(session, target_id)
    if installation is None:
        installation = _new(session, target, version, now)
    elif installation.status == "uninstalled":
        installation.installed_at, installation.previous_version = now, None
    elif installation.version != version:
        left = installation.version
        installation.previous_version = None if rolled_back else left
        if rolled_back:
            _forget_previous(session, installation.project_id, left)
    installation.version, installation.status, installation.last_updated_at = version, "installed", now
    installation.observed_version = evidence.observed_version if evidence else None
    installation.evidence, installation.deploy_task_id = evidence, deploy_task_id
    _append_event(session, installation, now)
    return installation


def record_failure(
    session: Session,
    *,
    target_id: str,
    now: datetime,
    deploy_task_id: str | None,
    evidence: Evidence | None = None,
) -> Installation | None:
    """The script or its evidence failed: status `failed`, version and times unchanged.

    A target that had no installation still has none (None): nothing was proven there.
    """
    installation = find_installation(session, target_id)
    if installation is None or installation.status == "uninstalled":
        return None
    installation.status, installation.deploy_task_id = "failed", deploy_task_id
    if evidence is not None:
        installation.evidence = evidence
        installation.observed_version = evidence.observed_version
    _append_event(session, installation, now)
    return installation


def record_uninstalled(
    session: Session, *, target_id: str, now: datetime, deploy_task_id: str | None
) -> Installation | None:
    """The version is gone from the target: status `uninstalled`, with the version that it had."""
    installation = find_installation(session, target_id)
    if installation is None:
        return None
    installation.status, installation.last_updated_at = "uninstalled", now
    installation.previous_version = installation.observed_version = installation.evidence = None
    installation.deploy_task_id = deploy_task_id
    _append_event(session, installation, now)
    return installation


def _new(session: Session, target: Target, version: str, at: datetime) -> Installation:
    installation = Installation(
        project_id=target.project_id,
        target_id=target.id,
        environment_id=target.environment_id,
        client_id=target.client_id,
        version=version,
        status="installed",
        installed_at=at,
        last_updated_at=at,
    )
    session.add(installation)
    return installation


def _forget_previous(session: Session, project_id: str, version: str) -> None:
    session.execute(
        update(Installation)
        .where(Installation.project_id == project_id, Installation.previous_version == version)
        .values(previous_version=None)
    )


def _append_event(session: Session, installation: Installation, now: datetime) -> None:
    session.flush()
    session.add(
        InstallationEvent(
            target_id=installation.target_id,
            project_id=installation.project_id,
            client_id=installation.client_id,
            version=installation.version,
            previous_version=installation.previous_version,
            status=installation.status,
            deploy_task_id=installation.deploy_task_id,
            at=now,
        )
    )
