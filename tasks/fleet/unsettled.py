"""Results that nobody knows, read from the database: what was to run there, and whether something else came since."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from prefect import get_run_logger
from sqlalchemy import Select, func, or_, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from db.documents.plan import PlannedClient
from db.errors import PermanentDatabaseError
from db.models import Client, DeployResult, DeployTask, Installation, Lease, Project
from db.queries.deploy_tasks import is_going_back
from db.queries.versions import versions_by_name
from db.secrets import SecretBox
from tasks.errors import PermanentTaskError
from tasks.outcomes import RESULTS, Book
from tasks.planning.controls import FINISHED
from tasks.planning.going_back import plan_back
from tasks.rollbacks import ROLLBACKS
from tasks.rollout import ClientRun
from tasks.work import ClientWork, Release, load_planned, load_release

ASKED_FOR = timedelta(days=90)
"""As long as an agent knows its executions' ids."""
MOST = 200
UNSETTLED = ("unknown", "running")
LONGEST_PROOF_S = 60.0


@dataclass(frozen=True, slots=True)
class Unsettled:
    """One result that nobody knows, and what its execution was to bring there; `moot`: something else came there since.

    `fence`: the last that was given out for its environment, which the agent may not have seen.
    """

    release: Release
    run: ClientRun
    book: Book
    moot: bool
    fence: int


def find_unsettled(session: Session, secrets: SecretBox, now: datetime) -> list[Unsettled]:
    """Results of deploy tasks that have ended, at most 200 of them, in any order: all have their turn.

    A deploy task of which it can't be said what was to run where is named in the log, and left out.
    """
    query = unsettled_query(now).order_by(func.random()).limit(MOST)
    by_task: dict[str, list[DeployResult]] = defaultdict(list)
    for result in session.scalars(query):
        by_task[result.deploy_task_id].append(result)
    found = []
    for task_id, results in by_task.items():
        try:
            found += _unsettled_of(session, task_id, results, secrets)
        except SQLAlchemyError:
            raise
        except Exception:  # noqa: BLE001 (one deploy task's trouble, whatever it is, keeps no other from being settled)
            get_run_logger().exception("cannot read what is unknown of deploy task %s", task_id)
    return found


def unsettled_query(now: datetime) -> Select[DeployResult]:
    """Results of deploy tasks that have ended without anybody knowing what became of the client.

    Running ones, too, forward or back: a flow run that was cancelled in Prefect leaves them. Of a client that is not
    registered any more there is nobody to ask.
    """
    return (
        select(DeployResult)
        .join(DeployTask, DeployTask.id == DeployResult.deploy_task_id)
        .where(
            or_(
                DeployResult.status.in_(UNSETTLED) & DeployResult.execution_id.is_not(None),
                DeployResult.rollback.is_not(None) & is_going_back(),
            ),
            DeployTask.status.in_(FINISHED),
            DeployTask.finished_at > now - ASKED_FOR,
            DeployResult.client_id.in_(select(Client.client_id)),
        )
    )


def is_unsettled(row: DeployResult) -> bool:
    """The same of a row that was read."""
    return row.status in UNSETTLED or (row.rollback is not None and row.rollback.status == "running")


def _unsettled_of(
    session: Session, task_id: str, results: Sequence[DeployResult], secrets: SecretBox
) -> list[Unsettled]:
    of = session.get_one(DeployTask, task_id)
    forward = {row.client_id: row for row in results if row.rollback is None}
    back = {row.client_id: row for row in results if row.rollback is not None}
    planned = [one for one in of.plan.clients if one.client_id in forward]
    return [
        *_unsettled(session, of, planned, forward, secrets),
        *_unsettled(session, of, _ways_back(session, of, back), back, secrets),
    ]


def _ways_back(session: Session, of: DeployTask, rows: Mapping[str, DeployResult]) -> Sequence[PlannedClient]:
    """The plans by which these clients were taken back; without those whose way back is not registered any more."""
    wanted = [one for one in of.plan.clients if one.client_id in rows]
    named = {version for one in wanted for version in (one.from_version or "", one.to_version)}
    project, versions = (
        session.get_one(Project, of.project_id),
        versions_by_name(session, of.project_id, named),
    )
    found = []
    for one in wanted:
        with suppress(PermanentTaskError):
            found.append(plan_back(project, one, versions))
    return found


def _unsettled(
    session: Session,
    of: DeployTask,
    planned: Sequence[PlannedClient],
    rows: Mapping[str, DeployResult],
    secrets: SecretBox,
) -> list[Unsettled]:
    """Without those of whom it can't be said any more what was to run there. `rows`: all of them taken back, or none."""
    if not planned:
        return []
    back = any(row.rollback is not None for row in rows.values())
    gone = (PermanentTaskError, PermanentDatabaseError)
    works = load_planned(session, of, planned, secrets, goes_back=back, leave_out=gone)
    release, book = _shortened(load_release(session, of)), RESULTS
    if back:
        release, book = replace(release, operation="rollback"), ROLLBACKS
    later = moot(session, of, [row for client, row in rows.items() if client in works])
    query = select(Lease.environment_id, Lease.fence).where(Lease.project_id == of.project_id)
    fences = dict(session.execute(query).tuples().all())
    return [
        Unsettled(
            release,
            _run_of(release, work, rows[client]),
            book,
            moot=rows[client].id in later,
            fence=fences.get(work.environment_id, 0),
        )
        for client, work in works.items()
    ]


def _shortened(release: Release) -> Release:
    """It has been there for a while already: a round is not spent on one client."""
    update = {
        "stable_for_s": min(release.strategy.stable_for_s, LONGEST_PROOF_S),
        "health_timeout_s": min(release.strategy.health_timeout_s, LONGEST_PROOF_S),
    }
    return replace(release, strategy=release.strategy.model_copy(update=update))


def _run_of(release: Release, work: ClientWork, row: DeployResult) -> ClientRun:
    execution_id = row.rollback.execution_id if row.rollback is not None else row.execution_id
    begun = replace(work, status="running", execution_id=execution_id)
    return ClientRun(begun, release.operation, release.deploy_task_id)


def moot(session: Session, of: DeployTask, rows: Sequence[DeployResult]) -> set[str]:
    """Ids of those results after which something else came there: another deploy task, or what a person recorded."""
    wanted = {row.target_id: (row.id, since) for row in rows if (since := _since(row)) is not None}
    others = (
        select(DeployResult.target_id, DeployResult.started_at)
        .join(DeployTask, DeployTask.id == DeployResult.deploy_task_id)
        .where(DeployTask.project_id == of.project_id, DeployTask.id != of.id)
        .where(DeployResult.started_at.is_not(None), DeployResult.target_id.in_(wanted))
    )
    recorded = select(Installation.target_id, Installation.last_updated_at).where(
        Installation.target_id.in_(wanted),
        or_(Installation.deploy_task_id.is_(None), Installation.deploy_task_id != of.id),
    )
    later: set[str] = set()
    for query in (others, recorded):
        for target_id, at in session.execute(query):
            result_id, since = wanted[target_id]
            if at is not None and at > since:
                later.add(result_id)
    return later


def _since(row: DeployResult) -> datetime | None:
    return row.rollback.started_at if row.rollback is not None else row.started_at
