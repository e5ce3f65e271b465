"""Waiting for a process to end without asking again and again: pidfd_open(2)."""

import asyncio
import os
import subprocess


async def wait_for_exit(pid: int, child: subprocess.Popen[bytes] | None = None) -> None:
    """Return when the process has ended; it is reaped where it is our `child`."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        descriptor = None
    except OSError:
        # No descriptor left, say: the script runs on all the same.
        await _poll(pid, child)
        return
    if descriptor is not None:
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        loop.add_reader(descriptor, lambda: None if ended.done() else ended.set_result(None))
        try:
            await ended
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
    if child is not None:
        child.wait()


async def _poll(pid: int, child: subprocess.Popen[bytes] | None) -> None:
    while child.poll() is None if child is not None else _exists(pid):  # noqa: ASYNC110 (nobody tells of it)
        await asyncio.sleep(0.5)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
