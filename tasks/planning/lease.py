"""The lease on a project's environments: one deploy task at a time, by one run, with a fence that only ever rises.

The clock is the caller's; a lease lasts `ttl_s` (60 s) and is renewed every `renew_s` (15 s) by whoever holds it.
"""

import os
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from db.models import DeployTask, Environment, Lease, Project
from tasks.errors import LeaseHeldError, LeaseLostError
from tasks.numbers import number_setting

DEFAULT_TTL_S = 60.0
DEFAULT_RENEW_S = 15.0
LEAST_S = 0.1
"""Of both: a lease that lasts no time is nobody's, and one that is renewed all the time keeps the database busy."""


def lease_ttl_s(environ: Mapping[str, str] = os.environ) -> float:
    """How long a lease lasts without being renewed, in seconds (HOIST_LEASE_TTL_S). Raises PermanentTaskError."""
    return number_setting(environ, "HOIST_LEASE_TTL_S", DEFAULT_TTL_S, least=LEAST_S)


def lease_renew_s(environ: Mapping[str, str] = os.environ) -> float:
    """How often the holder renews its lease, in seconds (HOIST_LEASE_RENEW_S). Raises PermanentTaskError."""
    return number_setting(environ, "HOIST_LEASE_RENEW_S", DEFAULT_RENEW_S, least=LEAST_S)


def acquire_leases(
    session: Session, deploy_task: DeployTask, holder: str, now: datetime, ttl_s: float | None = None
) -> int:
    """Take the lease of every environment that the plan touches and that is still there, all or none; answers the fence.

    The fence is above every fence ever given out for the project, also where the same holder takes it again: Prefect's
    Retry keeps the flow run's id, and the process before it may only have been frozen. Raises LeaseHeldError, naming who holds it; nothing is kept then if the caller rolls back.
    """
    leases = _locked_leases(session, deploy_task)
    for lease in leases:
        if _is_held(lease, now) and (lease.holder, lease.deploy_task_id) != (holder, deploy_task.id):
            raise _held(lease)
    fence = _next_fence(session, deploy_task.project_id)
    for lease in leases:
        lease.holder, lease.deploy_task_id, lease.fence = holder, deploy_task.id, fence
        lease.expires_at = now + timedelta(seconds=lease_ttl_s() if ttl_s is None else ttl_s)
    session.flush()
    return fence


def renew_leases(
    session: Session,
    deploy_task: DeployTask,
    holder: str,
    now: datetime,
    ttl_s: float | None = None,
    *,
    fence: int,
) -> None:
    """Make the holder's leases last `ttl_s` from now. Raises LeaseLostError where another took one meanwhile."""
    for lease in _locked_leases(session, deploy_task):
        if (lease.holder, lease.deploy_task_id, lease.fence) != (holder, deploy_task.id, fence):
            raise LeaseLostError(
                f"the lease of deploy task {deploy_task.id} is not {holder}'s any more: "
                f"{lease.holder or 'nobody'} has it"
            )
        lease.expires_at = now + timedelta(seconds=lease_ttl_s() if ttl_s is None else ttl_s)
    session.flush()


def check_leases_held(
    session: Session, deploy_task_id: str, holder: str, *, fence: int, environments: int
) -> None:
    """Raises LeaseLostError where another run has one of the deploy task's leases; until the transaction ends nobody takes them.

    `environments`: of how many they are. A lease that ran out is still the holder's until somebody takes it.
    """
    query = select(Lease.environment_id).where(
        Lease.deploy_task_id == deploy_task_id, Lease.holder == holder, Lease.fence == fence
    )
    if len(session.scalars(query.with_for_update(read=True)).all()) < environments:
        raise LeaseLostError(f"the lease of deploy task {deploy_task_id} is not {holder}'s any more")


def release_leases(session: Session, deploy_task: DeployTask, holder: str) -> None:
    """Let go of what the holder holds for this deploy task; another's stays. The fence is kept."""
    for lease in _locked_leases(session, deploy_task):
        if (lease.holder, lease.deploy_task_id) == (holder, deploy_task.id):
            lease.holder = lease.deploy_task_id = lease.expires_at = None
    session.flush()


def check_leases_free(session: Session, deploy_task: DeployTask, now: datetime) -> None:
    """Raises LeaseHeldError if any run, of this deploy task or another, holds a lease that the plan needs."""
    wanted = environments_of(deploy_task)
    for lease in session.scalars(select(Lease).where(Lease.project_id == deploy_task.project_id)):
        if lease.environment_id in wanted and _is_held(lease, now):
            raise _held(lease)


def environments_of(deploy_task: DeployTask) -> list[str]:
    """The ids of the environments that the plan touches, sorted."""
    return sorted({client.environment_id for client in deploy_task.plan.clients})


def environments_left(session: Session, deploy_task: DeployTask) -> list[str]:
    """The same without those that were deleted since: nothing is in them any more, and they have no lease."""
    query = select(Environment.id).where(Environment.id.in_(environments_of(deploy_task)))
    return sorted(session.scalars(query))


def _is_held(lease: Lease, now: datetime) -> bool:
    return lease.holder is not None and lease.expires_at is not None and lease.expires_at > now


def _held(lease: Lease) -> LeaseHeldError:
    assert lease.holder is not None
    assert lease.deploy_task_id is not None
    assert lease.expires_at is not None
    return LeaseHeldError(lease.holder, lease.deploy_task_id, lease.expires_at)


def _next_fence(session: Session, project_id: str) -> int:
    """Above all that were ever given out for the project: its agents keep the highest they have seen."""
    project = session.scalars(
        select(Project)
        .where(Project.id == project_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()
    known = session.scalars(select(Lease.fence).where(Lease.project_id == project_id))
    project.fence = max(project.fence, *known, 0) + 1
    return project.fence


def _locked_leases(session: Session, deploy_task: DeployTask) -> list[Lease]:
    """The rows, made where missing, locked in a fixed order: the project's all, so that fences rise one by one."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    wanted = environments_left(session, deploy_task)
    for environment_id in wanted:
        values = {"project_id": deploy_task.project_id, "environment_id": environment_id, "fence": 0}
        session.execute(insert(Lease).values(values).on_conflict_do_nothing())
    rows = session.scalars(
        select(Lease)
        .where(Lease.project_id == deploy_task.project_id)
        .order_by(Lease.environment_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return [lease for lease in rows.all() if lease.environment_id in wanted]
