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
