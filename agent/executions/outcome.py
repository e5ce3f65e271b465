"""What became of an execution: decided from the files that the wrapper left."""

from datetime import datetime

from agent.executions.output import size_of
from agent.executions.paths import ExecutionPaths
from agent.executions.record import Record
from agent.executions.tree import Started
from agent.wire.executions import ExecutionState

_ENDED_BY = {
    "timed_out": ExecutionState.TIMED_OUT,
    "cancelled": ExecutionState.CANCELLED,
    "agent_stopped": ExecutionState.CANCELLED,
}


def outcome(record: Record, paths: ExecutionPaths, left: Started, *, boot_id: str, now: datetime) -> Record:
    """The record as it ends. `left`: what of it still runs; `boot_id`: this boot's; `now`: where no status tells."""
    code, reason = paths.read_status(), paths.read_ended_by()
    rebooted = record.boot_id != boot_id
    # After a power cut the wrapper's `started` may be missing though it ran: that it was given up now proves nothing.
    state = _state(code, reason, ran=rebooted or not paths.given_up)
    finished = paths.time_of(paths.status) if code is not None else None
    return record.model_copy(
        update={
            "state": state,
            "exit_code": code,
            "pid": record.pid or paths.read_number("pid"),
            "started_at": paths.time_of(paths.started) or record.started_at,
            "finished_at": finished or now,
            "output_bytes": size_of(paths.output),
            "error": _error(record, state, code, reason, left, rebooted=rebooted),
        }
    )


def _state(code: int | None, reason: str | None, *, ran: bool) -> ExecutionState:
    if not ran:
        return ExecutionState.FAILED
    if reason is not None:
        return _ENDED_BY.get(reason, ExecutionState.CANCELLED)
    if code is None:
        return ExecutionState.LOST
    return ExecutionState.SUCCEEDED if code == 0 else ExecutionState.FAILED


def _error(
    record: Record,
    state: ExecutionState,
    code: int | None,
    reason: str | None,
    left: Started,
    *,
    rebooted: bool,
) -> str | None:
    if state is ExecutionState.SUCCEEDED:
        return None
    if state is ExecutionState.FAILED and code is None:
        return "the script was not started, and did not run: see the output, or the agent stopped before it could"
    if state is ExecutionState.FAILED:
        return f"the script exited with {code}" + (f" (signal {code - 128})" if code and code > 128 else "")
    if state is ExecutionState.LOST:
        if rebooted:
            return (
                "the host was rebooted before the script's end was written: it may have run, in part or whole"
            )
        return "the script's wrapper is gone without an exit status"
    said = {
        "timed_out": f"the script was still running after {record.timeout_s} s and was ended",
        "agent_stopped": "the agent stopped, and the script was not detached from it",
    }.get(reason or "", "the script was cancelled")
    return said + _spared(left)


def _spared(left: Started) -> str:
    said = ""
    if left.detached:
        names = ", ".join(f"{name} (pid {pid})" for pid, name in left.detached[:20])
        said += f"; left running, because start_detached started it: {names}"
    if left.own:
        said += f"; could not be ended: {', '.join(map(str, sorted(left.own)[:20]))}"
    return said
