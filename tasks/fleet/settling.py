"""Clients whose outcome nobody knew: their agents are asked what became of the execution, until that is known.

Nothing is started, and no lease is taken: an agent is asked, what runs there is judged as an upgrade judges it, and that
is written down where it is still unknown.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from sqlalchemy.orm import Session

from agent.client import AgentApi
from agent.errors import AgentError, PermanentAgentError
from agent.naming import NamingError
from agent.wire.executions import Execution, ExecutionState
from db.models import DeployTask, utc_now
from db.queries.deploy_tasks import counts_of, get_deploy_task
from db.secrets import load_secret_key
from db.session import Database
from tasks.executing import is_lower_fence
from tasks.fleet.asking import NOTHING_SENT, ROUND, Round
from tasks.fleet.unsettled import Unsettled, find_unsettled, is_unsettled, moot, unsettled_query
from tasks.outcomes import RESULTS, Outcome, failed_execution, result_of
from tasks.planning.controls import FINISHED, audit, ended_as, event_of
from tasks.planning.telling import tell
from tasks.proving import prove_version
from tasks.rollout import ClientRun, Lease, Rollout
from tasks.settings import RolloutSettings

WHO = "reconciler"


@task(
    name="settle_unknown",
    task_run_name="what is unknown",
    cache_policy=NO_CACHE,
    persist_result=False,
    timeout_seconds=275,
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
        return session.scalar(unsettled_query(utc_now()).limit(1)) is not None


async def _settle(round_: Round, one: Unsettled) -> bool:
    """Within what is left of the round; the next one goes on with the others."""
    async with round_.slots:
        try:
            async with asyncio.timeout(max(0.0, round_.deadline - time.monotonic())):
                outcome = await _outcome_of(round_, one)
        except TimeoutError:
            return False
    if outcome is None or outcome.status == "unknown":
        return False
    return await asyncio.to_thread(_record, round_.database, one, outcome)


def _find(database: Database) -> Sequence[Unsettled]:
    with database.read() as session:
        return find_unsettled(session, load_secret_key(), utc_now())


async def _outcome_of(round_: Round, one: Unsettled) -> Outcome | None:
    """None while it is under way, or while its agent does not say."""
    run, noun = one.run, one.run.work.recipe.noun
    run.api = AgentApi(
        round_.http, run.work.url, run.work.token or "", client_id=run.work.client_id, fence=one.fence
    )
    try:
        async with asyncio.timeout(round_.ask_timeout_s):
            execution = await _execution_of(run, one.release.project_id)
        if execution is None:
            return Outcome(
                "failed", f"its {noun} was never started: its agent knows nothing of it", ran=False
            )
        if not execution.state.ended:
            return None
        if execution.state not in (ExecutionState.SUCCEEDED, ExecutionState.LOST) or execution.exit_code:
            return failed_execution(execution, noun)
        if one.moot:
            return _unproven(execution, noun)
        return await _proven(round_, one, execution)
    except (AgentError, NamingError, TimeoutError):
        return None


def _unproven(execution: Execution, noun: str) -> Outcome:
    """What runs there now is another deploy task's doing, so looking at it would prove nothing."""
    return Outcome(
        "failed",
        f"not proven: before anybody looked at what its {noun} had brought, something else was deployed there",
        exit_code=execution.exit_code,
        output=execution.output_tail,
        container=execution.container,
    )


async def _execution_of(run: ClientRun, project_id: str) -> Execution | None:
    """None where its agent has never heard of it, and never will: a run that was only frozen could still send it."""
    assert run.api is not None
    if (info := await run.api.info()).client_id != run.work.client_id:
        raise PermanentAgentError(f"the agent at its address is {info.client_id}'s", status=NOTHING_SENT)
    try:
        return await run.api.execution(run.execution_id, wait_s=0)
    except PermanentAgentError as error:
        if error.status != 404:
            raise
    try:
        return await run.api.cancel_if_known(run.execution_id, project_id)
    except PermanentAgentError as error:
        if is_lower_fence(error):  # a later run was there: it is refused already
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
        if not is_unsettled(row) or execution_id != one.run.execution_id or of.status not in FINISHED:
            return False
        later = bool(moot(session, of, [row]))
        if later and not one.moot:
            return False  # it was proven by what is not there any more: the next round judges it anew
        told = replace(outcome, ran=outcome.ran and not later)
        one.book.record(session, task_id, one.release.operation, work, told, now=now)
        if one.book is RESULTS:
            row.ran = outcome.ran or bool(row.ran_before)
        session.flush()
        _end_anew(session, of, work.client_id, outcome, now)
    return True


def _end_anew(session: Session, of: DeployTask, client_id: str, outcome: Outcome, now: datetime) -> None:
    """Its status is counted from its results; once all of them are known, people are told."""
    counts = counts_of(session, of.id)
    if of.status != "cancelled":
        of.status = ended_as(of, counts)
    audit(session, of, "deploy_task.settled", now, WHO, client_id=client_id, outcome=outcome.status)
    if not counts.unknown and not counts.running:
        tell(session, of, event_of(of.status), f"nothing is unknown any more: {of.status}", now)
