"""What one run carries from step to step: its release, its clients, its lease, its brakes. It never leaves the process."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

import httpx
from sqlalchemy.orm import Session

from agent.client import AgentApi
from agent.wire.executions import Execution
from db.documents.usage import Usage
from db.errors import TransientDatabaseError
from db.group_commit import GroupCommit
from db.models import utc_now
from db.session import Database
from tasks.brakes import Brakes
from tasks.decisions.evidence import Seen
from tasks.decisions.resume import Resumption, Step, decide_resumption, execution_id_of
from tasks.decisions.rollout import FAILURES, Rules
from tasks.errors import LeaseLostError
from tasks.outcomes import RESULTS, Book, Outcome, name_container
from tasks.planning.controls import not_tried_again
from tasks.planning.lease import check_leases_held
from tasks.settings import RolloutSettings
from tasks.work import ClientWork, Release

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Lease:
    """Under which the run acts: who holds it, the number that agents are told, and its environments' ids."""

    holder: str
    fence: int
    environments: tuple[str, ...] = ()


class ClientRun:
    """One client in this run: what is to be done, and how far it is."""

    def __init__(self, work: ClientWork, operation: str, deploy_task_id: str) -> None:
        self.work = work
        self.status = work.status
        self.resumption = decide_resumption(work.status, work.attempt, work.execution_id)
        self.execution_id = (
            work.execution_id
            if self.reattaches and work.execution_id
            else execution_id_of(deploy_task_id, work.client_id, self.resumption.attempt, operation)
        )
        self.sent = self.reattaches
        self.execution: Execution | None = None
        self.outcome: Outcome | None = None
        self.first_look: Seen | None = None
        self.loads: list[Usage] = []
        self.proving_since: datetime | None = None
        self.api: AgentApi | None = None
        self.known = False
        self.asked_since = 0.0
        self.offline_since: float | None = None
        self.offline = False
        self.left = False
        self.container_name = work.container_name

    @property
    def due(self) -> bool:
        """Whether there is something left to do for it."""
        return self.resumption.step is not Step.LEAVE

    @property
    def reattaches(self) -> bool:
        """Whether its execution may be under way already, started by an earlier run."""
        return self.resumption.step is Step.REATTACH


class Rollout:
    """One run of one deploy task."""

    def __init__(
        self,
        release: Release,
        clients: dict[str, ClientRun],
        lease: Lease,
        *,
        database: Database,
        http: httpx.AsyncClient,
        settings: RolloutSettings,
        brakes: Brakes | None = None,
        book: Book = RESULTS,
        rules: Rules | None = None,
    ) -> None:
        self.release = release
        self.clients = clients
        self.lease = lease
        self.database = database
        self.http = http
        self.settings = settings
        self.brakes = brakes or Brakes()
        self.slots = asyncio.Semaphore(release.strategy.max_parallel)
        self.statuses: Counter[str] = Counter(run.work.status for run in clients.values())
        self.forgiven_failures = release.forgiven_failures
        self.rules = rules
        self.held: dict[str, str] = {}
        self.changed: dict[str, str] = {}
        self._compare_at = 0.0
        self._book = book
        self._writer = GroupCommit(database)

    @property
    def has_fresh_failures(self) -> bool:
        """Whether more clients failed than a retry or a person went on with."""
        return sum(self.statuses[status] for status in FAILURES) > self.forgiven_failures

    @property
    def all_statuses(self) -> dict[str, str]:
        """Each client's status."""
        return {client: run.status for client, run in self.clients.items()}

    @property
    def ended(self) -> int:
        """Clients that this or an earlier run is done with."""
        return self.statuses.total() - self.statuses["pending"] - self.statuses["running"]

    def is_time_to_compare(self) -> bool:
        """Whether what clients use is to be looked at again: not after each of many that end in one second."""
        if not self.release.strategy.regression_percent or time.monotonic() < self._compare_at:
            return False
        self._compare_at = time.monotonic() + self.settings.watch_s
        return True

    async def pass_over(self, run: ClientRun) -> bool:
        """A client that was put on hold since the plan was made, or has another version by now, is skipped at its turn; answers whether it was."""
        client_id = run.work.client_id
        if run.status != "pending" or not (client_id in self.held or client_id in self.changed):
            return False
        held = self.held.get(client_id)
        why = f"held: {held}" if held is not None else f"planned for another state: {self.changed[client_id]}"
        await self.record(run, Outcome("skipped", why, ran=False))
        return True

    def api_of(self, run: ClientRun) -> AgentApi:
        """The client's agent; one caller per client, which remembers what the agent can do."""
        if run.api is None:
            run.api = AgentApi(
                self.http,
                run.work.url,
                run.work.token or "",
                client_id=run.work.client_id,
                fence=self.lease.fence,
            )
        return run.api

    async def commit(self, change: Callable[[Session], T]) -> T:
        """Do the change in a transaction that it may share with other clients' changes; durable when this returns.

        A database that can't be reached is asked again for as long as a lease lasts: every change may be repeated.
        """
        return await self._patiently(lambda: asyncio.wrap_future(self._writer.submit(change)))

    async def read(self, question: Callable[[Session], T]) -> T:
        """What the database answers; asked again, as `commit` is, while it can't be reached."""

        def ask() -> T:
            with self.database.read() as session:
                return question(session)

        return await self._patiently(lambda: asyncio.to_thread(ask))

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        deadline = time.monotonic() + self.settings.lease_ttl_s
        while True:
            try:
                return await ask()
            except TransientDatabaseError:
                if self.brakes.lost or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(1)

    async def commit_as_holder(self, change: Callable[[Session], T]) -> T:
        """The same, only while the lease is this run's. Raises LeaseLostError, and pulls the brakes, where it is not."""

        def checked(session: Session) -> T:
            # Once per transaction, which many clients share: the rows stay locked until it ends.
            if session.info.get("checked_lease") != self.lease:
                lease, task_id = self.lease, self.release.deploy_task_id
                check_leases_held(
                    session, task_id, lease.holder, fence=lease.fence, environments=len(lease.environments)
                )
            answer = change(session)
            session.info["checked_lease"] = self.lease
            return answer

        try:
            return await self.commit(checked)
        except LeaseLostError as error:
            self.brakes.lose(str(error))
            raise

    def close(self) -> None:
        """Write what waits, and end the writer."""
        self._writer.close()

    @property
    def goes_back(self) -> bool:
        """Whether clients are taken back, beside what the deploy task was made for."""
        return self._book is not RESULTS

    async def begin(self, run: ClientRun) -> None:
        """Write the attempt down; only then may its request be sent."""
        now = utc_now()
        await self.commit_as_holder(
            lambda session: self._book.begin(
                session,
                self.release.deploy_task_id,
                run.work,
                attempt=run.resumption.attempt,
                execution_id=run.execution_id,
                now=now,
            )
        )
        self._move(run, "running")

    async def put_off(self, run: ClientRun) -> None:
        """It was to begin, and its agent never heard of it: it waits for its turn, as before."""
        task_id, execution_id = self.release.deploy_task_id, run.execution_id
        await self.commit_as_holder(
            lambda session: self._book.put_off(session, task_id, run.work, execution_id)
        )
        run.sent, run.left = False, True
        run.resumption = Resumption(Step.START, run.resumption.attempt)
        self._move(run, "pending")

    async def name(self, run: ClientRun, name: str) -> None:
        """Write down what the client's container is to be called."""
        task_id, client_id = self.release.deploy_task_id, run.work.client_id
        await self.commit_as_holder(lambda session: name_container(session, task_id, client_id, name))
        run.container_name = name

    async def record(self, run: ClientRun, outcome: Outcome) -> None:
        """Write down how the client's attempt ended."""
        now = utc_now()
        release = self.release
        if outcome.status == "skipped" and run.work.ran and not self.goes_back:
            outcome = replace(outcome, status="failed", error=not_tried_again(outcome.error or "skipped"))
        await self.commit_as_holder(
            lambda session: self._book.record(
                session, release.deploy_task_id, release.operation, run.work, outcome, now=now
            )
        )
        run.outcome = outcome
        self._move(run, outcome.status)

    def see(self, statuses: Mapping[str, str]) -> None:
        """What the database has by now, where this run wrote it in another way than by `record`."""
        for client_id, status in statuses.items():
            self._move(self.clients[client_id], status)

    def _move(self, run: ClientRun, status: str) -> None:
        self.statuses[run.status] -= 1
        self.statuses[status] += 1
        run.status = status


ROLLOUT: ContextVar[Rollout] = ContextVar("rollout")
"""The run that a task belongs to: tasks take ids, and find what they need here."""
