"""Clients whose outcome nobody knew: their agents are asked what became of the execution, until that is known.

Nothing is started, and no lease is taken: an agent is asked, what runs there is judged as an upgrade judges it, and that
is written down where it is still unknown.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from agent.client import AgentApi
from agent.errors import AgentError, PermanentAgentError
from agent.wire.executions import Execution, ExecutionState
from db.models import DeployResult, DeployTask, Project, utc_now
from db.queries.deploy_tasks import counts_of, get_deploy_task
from db.queries.versions import versions_by_name
from db.secrets import SecretBox, load_secret_key
from db.session import Database
from tasks.errors import PermanentTaskError
from tasks.fleet.asking import NOTHING_SENT, ROUND, Round
from tasks.outcomes import RESULTS, Book, Outcome, failed_execution, result_of
from tasks.planning.controls import FINISHED, audit, ended_as, event_of
from tasks.planning.going_back import plan_back
from tasks.planning.telling import tell
from tasks.proving import prove_version
from tasks.rollbacks import ROLLBACKS
from tasks.rollout import ClientRun, Lease, Rollout
from tasks.settings import RolloutSettings
from tasks.work import Release, load_planned, load_release

ASKED_FOR = timedelta(days=90)
"""As long as an agent knows its executions' ids."""
MOST = 200
LONGEST_PROOF_S = 60.0
WHO = "reconciler"


@dataclass(frozen=True, slots=True)
class Unsettled:
    """One result that nobody knows, and what its execution was to bring there."""

    release: Release
    run: ClientRun
    book: Book


def find_unsettled(session: Session, secrets: SecretBox, now: datetime) -> list[Unsettled]:
    """Results of deploy tasks that have ended, at most 200 of them, in any order: all have their turn."""
    query = _query(now).order_by(func.random()).limit(MOST)
    found = (_unsettled(session, result, of, secrets) for result, of in session.execute(query).tuples())
    return [one for one in found if one is not None and one.run.work.url]


def _query(now: datetime) -> Select[DeployResult, DeployTask]:
    return (
        select(DeployResult, DeployTask)
        .join(DeployTask, DeployTask.id == DeployResult.deploy_task_id)
        .where(
            DeployResult.status == "unknown",
            DeployResult.execution_id.is_not(None),
            DeployTask.status.in_(FINISHED),
            DeployTask.finished_at > now - ASKED_FOR,
        )
    )


def _unsettled(
    session: Session, result: DeployResult, of: DeployTask, secrets: SecretBox
) -> Unsettled | None:
    """None where it can't be said any more what was to run there."""
    planned = next(one for one in of.plan.clients if one.client_id == result.client_id)
    release, book, execution_id = load_release(session, of), RESULTS, result.execution_id
    try:
        if result.rollback is not None:
            project = session.get_one(Project, of.project_id)
            named = {planned.from_version or "", planned.to_version}
            planned = plan_back(project, planned, versions_by_name(session, of.project_id, named))
            release, book = replace(release, operation="rollback"), ROLLBACKS
            execution_id = result.rollback.execution_id
        work = load_planned(session, of, [planned], secrets)[result.client_id]
    except PermanentTaskError:
        return None
    strategy = release.strategy.model_copy(
        update={
            "stable_for_s": min(release.strategy.stable_for_s, LONGEST_PROOF_S),
            "health_timeout_s": LONGEST_PROOF_S,
        }
    )
    release = replace(release, strategy=strategy)
    run = ClientRun(replace(work, status="running", execution_id=execution_id), release.operation, of.id)
    return Unsettled(release, run, book)


@task(
    name="settle_unknown",
    task_run_name="what is unknown",
    cache_policy=NO_CACHE,
    persist_result=False,
    timeout_seconds=270,
)
async def settle_unknown() -> int:
    """Ask for each client whose outcome is unknown; answers for how many it is known now."""
    round_ = ROUND.get()
    found = await asyncio.to_thread(_find, round_.database)
    settled = sum(await asyncio.gather(*(_settle(round_, one) for one in found)))
    get_run_logger().info("of %d clients whose outcome was unknown, %d are known now", len(found), settled)
    return settled


def is_anything_unsettled(database: Database) -> bool:
    """Whether there is anybody to be asked for."""
    with database.read() as session:
        return session.scalar(_query(utc_now()).limit(1)) is not None


async def _settle(round_: Round, one: Unsettled) -> bool:
    async with round_.slots:
        outcome = await _outcome_of(round_, one)
    if outcome is None or outcome.status == "unknown":
        return False
    return await asyncio.to_thread(_record, round_.database, one, outcome)


def _find(database: Database) -> Sequence[Unsettled]:
    with database.read() as session:
        return find_unsettled(session, load_secret_key(), utc_now())


async def _outcome_of(round_: Round, one: Unsettled) -> Outcome | None:
    """None while it is under way, or while its agent does not say."""
    run, noun = one.run, one.run.work.recipe.noun
    run.api = AgentApi(round_.http, run.work.url, run.work.token or "", client_id=run.work.client_id)
    try:
        async with asyncio.timeout(round_.ask_timeout_s):
            execution = await _execution_of(run)
        if execution is None:
            return Outcome(
                "failed", f"its {noun} was never started: its agent knows nothing of it", ran=False
            )
        if not execution.state.ended:
            return None
        if execution.state not in (ExecutionState.SUCCEEDED, ExecutionState.LOST) or execution.exit_code:
            return failed_execution(execution, noun)
        return await _proven(round_, one, execution)
    except (AgentError, TimeoutError):
        return None


async def _execution_of(run: ClientRun) -> Execution | None:
    """None where its agent has never heard of it."""
    assert run.api is not None
    if (info := await run.api.info()).client_id != run.work.client_id:
        raise PermanentAgentError(f"the agent at its address is {info.client_id}'s", status=NOTHING_SENT)
    try:
        return await run.api.execution(run.execution_id, wait_s=0)
    except PermanentAgentError as error:
        if error.status == 404:
            return None
        raise


async def _proven(round_: Round, one: Unsettled, execution: Execution) -> Outcome | None:
    """What runs there says it. How a lost script ended is not known, so an exit code can't prove it."""
    by_exit_code = one.run.work.recipe.evidence.source == "exit_code"
    if execution.state is ExecutionState.LOST and by_exit_code:
        return None
    looking = Rollout(
        one.release,
        {one.run.work.client_id: one.run},
        Lease(WHO, 0),
        database=round_.database,
        http=round_.http,
        settings=RolloutSettings(retry_window_s=0),
        book=one.book,
    )
    try:
        return await prove_version(looking, one.run, execution)
    finally:
        looking.close()


def _record(database: Database, one: Unsettled, outcome: Outcome) -> bool:
    """Where it is still unknown. Another deploy task that was there meanwhile has said more of the installation."""
    now, work, task_id = utc_now(), one.run.work, one.release.deploy_task_id
    with database.write() as session:
        of = get_deploy_task(session, task_id, lock=True)
        row = result_of(session, task_id, work.client_id)
        execution_id = row.rollback.execution_id if row.rollback is not None else row.execution_id
        if row.status != "unknown" or execution_id != one.run.execution_id or of.status not in FINISHED:
            return False
        ran, moot = outcome.ran, _is_moot(session, row, of.project_id)
        told = replace(outcome, ran=ran and not moot)
        one.book.record(session, task_id, one.release.operation, work, told, now=now)
        row.ran = ran
        session.flush()
        _end_anew(session, of, work.client_id, outcome, now)
    return True


def _is_moot(session: Session, row: DeployResult, project_id: str) -> bool:
    later = (
        select(DeployResult.id)
        .join(DeployTask, DeployTask.id == DeployResult.deploy_task_id)
        .where(
            DeployTask.project_id == project_id,
            DeployResult.target_id == row.target_id,
            DeployResult.id != row.id,
            DeployResult.started_at > row.started_at,
        )
    )
    return session.scalar(later.limit(1)) is not None


def _end_anew(session: Session, of: DeployTask, client_id: str, outcome: Outcome, now: datetime) -> None:
    """Its status is counted from its results; once none of them is unknown, people are told."""
    counts = counts_of(session, of.id)
    if of.status != "cancelled":
        of.status = ended_as(of, counts)
    audit(session, of, "deploy_task.settled", now, WHO, client_id=client_id, outcome=outcome.status)
    if not counts.unknown:
        tell(session, of, event_of(of.status), f"nothing is unknown any more: {of.status}", now)
