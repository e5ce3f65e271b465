"""After a restart: is the wrapper still there, is it through, or did it never begin?"""

import contextlib
import os

from agent.executions.paths import GIVEN_UP, ExecutionPaths
from agent.executions.spawn import Wrapper, wait_until_started
from agent.executions.tree import is_running


async def running_wrapper(paths: ExecutionPaths, boot_id: str) -> Wrapper | None:
    """The wrapper where it still runs. One that had not begun is kept from beginning: see `give_up`."""
    give_up(paths)
    started = await wait_until_started(paths, 0.0 if paths.given_up else 5.0)
    if started is None or started.boot_id != boot_id or not is_running(started.pid, started.ticks):
        return None
    return Wrapper(started)


def give_up(paths: ExecutionPaths) -> None:
    """Take the wrapper's place where it hasn't begun, so that a late one finds it taken and runs nothing."""
    with contextlib.suppress(FileExistsError, FileNotFoundError):
        descriptor = os.open(paths.started, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(GIVEN_UP)
