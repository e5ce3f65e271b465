"""Ending what an execution started: SIGTERM to all of it, SIGKILL to what is left 5 s later."""

import asyncio
import contextlib
import logging
import os
import signal

from agent.executions.paths import ExecutionPaths
from agent.executions.tree import Started, boot_id, find_started, is_running

GRACE_S = 5.0
GIVE_UP_S = 15.0
"""A process in uninterruptible sleep can't be killed: after this long the execution ends without it."""

log = logging.getLogger("agent.executions")


def claim_ending(paths: ExecutionPaths, reason: str) -> None:
    """Record why the execution is ended; the first reason stands.

    Never fails: on a full disk it is ended all the same, and its exit status alone tells how.
    """
    try:
        descriptor = os.open(paths.ended_by, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(reason + "\n")
    except (FileExistsError, FileNotFoundError):
        pass
    except OSError as error:
        log.error("cannot write why %s is ended (%s): %s", paths.directory.name, reason, error)


async def end_processes(execution_id: str, paths: ExecutionPaths, exited: asyncio.Event) -> None:
    """Returns when nothing is left of the execution and its wrapper has `exited` too, or after `GIVE_UP_S`."""
    loop = asyncio.get_running_loop()
    began, told, pause = loop.time(), set[int](), 0.05
    while (passed := loop.time() - began) < GIVE_UP_S:
        found = await asyncio.to_thread(started_by, execution_id, paths)
        if not found.own and exited.is_set():
            return
        if passed >= GRACE_S:
            _signal(found.own, signal.SIGKILL)
        else:
            _signal(found.own - told, signal.SIGTERM)
            _signal(found.own - told, signal.SIGCONT)
            told |= found.own
        await asyncio.sleep(pause)
        pause = min(pause * 1.3, 0.3)


def started_by(execution_id: str, paths: ExecutionPaths) -> Started:
    """What runs of it now. The wrapper's pid counts only while it is still the wrapper's: pids are used again."""
    started = paths.read_started()
    same_boot = started is not None and started.boot_id == boot_id()
    wrapper = started.pid if started and same_boot and is_running(started.pid, started.ticks) else None
    return find_started(execution_id, wrapper, paths.read_number("watchdog") if same_boot else None)


def _signal(pids: frozenset[int] | set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
