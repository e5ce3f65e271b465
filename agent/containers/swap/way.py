"""Container deployments as executions: journalled like a script's, carried out by a thread of the agent's own."""

import logging
from collections.abc import Mapping
from typing import Any

from agent.containers.engine import Engine
from agent.containers.errors import EngineUnavailable
from agent.containers.swap.dock import Dock
from agent.containers.swap.notes import Notes
from agent.containers.swap.progress import SwapProgress
from agent.containers.swap.putting_back import PuttingBack
from agent.containers.swap.steps import NotServing
from agent.containers.swap.story import Swap
from agent.containers.threads import DaemonThreads
from agent.disk import write_durably
from agent.executions.paths import ExecutionPaths
from agent.executions.record import Command, Record
from agent.executions.steps import Abandoned, Ended, Signals, StepFailed
from agent.executions.threads import FAILED, SUCCEEDED, ThreadWay
from agent.settings import AgentSettings
from agent.wire.containers import ContainerDeployRequest
from agent.wire.executions import DeployedContainer

PING_WITHIN_S = 5.0
"""A slow engine must not hold up the agent's end: a process ends within 10 s of SIGTERM."""

log = logging.getLogger("agent.containers")


class ContainerWay(ThreadWay):
    """See `Way` in agent/executions/ways.py."""

    def __init__(self, settings: AgentSettings, engine: Engine) -> None:
        super().__init__(settings)
        self._engine = engine

    def files(self, request: Command, record: Record, paths: ExecutionPaths) -> Mapping[str, bytes]:  # noqa: ARG002 (a Way's)
        """The request itself, to go on from. Raises EngineUnavailable: then nothing is journalled."""
        threads = DaemonThreads(1, "engine-ping")
        try:
            threads.submit(self._ping).result(PING_WITHIN_S)
        except TimeoutError:
            raise EngineUnavailable("it does not answer in time") from None
        finally:
            threads.shutdown()
        return {"request.json": request.model_dump_json().encode()}

    def _ping(self) -> None:
        with self._engine.api() as api:
            api.ping()

    def carry_out(self, record: Record, paths: ExecutionPaths, signals: Signals) -> tuple[int, str | None]:
        """The swap, or what is left of it."""
        request = ContainerDeployRequest.model_validate_json(paths.request.read_bytes())
        notes = Notes(SwapProgress(), paths.swap, paths.output, signals)
        dock = Dock(self._engine, request.project_id, self._settings.client_id)
        swap = Swap(request, dock, notes, record.accepted_at)
        back = PuttingBack(request, dock, notes, record.accepted_at)
        return _outcome(swap, back, request, notes, paths)

    def result_of(self, paths: ExecutionPaths) -> dict[str, Any]:
        """`container`; None where nothing was deployed, or its files can't be read."""
        try:
            deployed = DeployedContainer.model_validate_json(paths.deployed.read_bytes())
        except (OSError, ValueError):
            deployed = None
        return {"container": deployed}


def _outcome(
    swap: Swap, back: PuttingBack, request: ContainerDeployRequest, notes: Notes, paths: ExecutionPaths
) -> tuple[int, str | None]:
    """Exit status and why it failed. Raises Abandoned."""
    if notes.now.phase == "revert":
        return _put_back(back, notes, notes.now.why or "it failed")
    try:
        if request.operation == "uninstall":
            swap.remove_all()
            return SUCCEEDED, None
        deployed = swap.put_in_place()
        write_durably(paths.deployed, deployed.model_dump_json().encode())
    except Abandoned:
        raise
    except Exception as error:  # whatever it is, the previous one is put back
        if not isinstance(error, (StepFailed, Ended, EngineUnavailable)):
            log.exception("execution %s failed at something unexpected", request.execution_id)
        why = _said(error, request)
        if notes.now.committed:
            return FAILED, why if isinstance(error, NotServing) else f"{notes.now.name} serves, but {why}"
        if request.operation == "uninstall":
            notes.tell(why)
            return FAILED, why
        return _put_back(back, notes, why)
    return SUCCEEDED, None


def _put_back(back: PuttingBack, notes: Notes, why: str) -> tuple[int, str]:
    try:
        said = back.put_back(why)
    except (StepFailed, EngineUnavailable) as error:
        said = str(error)
    notes.tell(said)
    return FAILED, said


def _said(error: Exception, request: ContainerDeployRequest) -> str:
    if isinstance(error, (StepFailed, EngineUnavailable)):
        return str(error)
    if not isinstance(error, Ended):
        return f"the agent failed at it: {type(error).__name__}: {error}"[:1000]
    if str(error) == "timed_out":
        return f"it was not done after {request.timeout_s} s"
    return "it was cancelled"
