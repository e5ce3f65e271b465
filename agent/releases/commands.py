"""Runs a short command of the application's and reads what it says, within a time and a size.

Blocking, so it runs in a thread. The pipe is left when the command has ended, even if a child still holds it.
"""

import asyncio
import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO

from agent.releases.errors import CannotAsk
from agent.releases.identity import Identity

OUTPUT_LIMIT_BYTES = 64 * 1024
_LEFTOVER_S, _LOOK_S = 0.2, 0.05
_THREADS = 24
"""A request has up to 21 of them, all at once."""

_threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="command")


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended, and the first 64 KiB of its two outputs."""

    exit_code: int
    stdout: str
    stderr: str


async def run_command(command: str, *, work_dir: str, identity: Identity, timeout_s: float) -> Finished:
    """Run `command` with /bin/sh in `work_dir`; its process group is killed when it ends, or when the time is over.

    Raises CannotAsk when it can't be started or takes longer than `timeout_s` seconds.
    """
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_threads, _run, command, work_dir, identity, timeout_s)


def _run(command: str, work_dir: str, identity: Identity, timeout_s: float) -> Finished:
    deadline = time.monotonic() + timeout_s
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            cwd=work_dir,
            env=identity.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            user=identity.user,
            group=identity.group,
            extra_groups=identity.extra_groups,
        )
    except OSError as error:
        raise CannotAsk(f"cannot run the command in {work_dir}: {error.strerror}") from error
    try:
        stdout, stderr = _read(process, deadline)
    finally:
        _end(process)
    if time.monotonic() >= deadline and process.returncode == -signal.SIGKILL:
        raise CannotAsk(f"the command took longer than {timeout_s:g} s and was killed")
    return Finished(process.returncode, stdout, stderr)


def _read(process: subprocess.Popen[bytes], deadline: float) -> tuple[str, str]:
    assert process.stdout is not None
    assert process.stderr is not None
    outputs = {process.stdout: bytearray(), process.stderr: bytearray()}
    with _exit_of(process) as exited, selectors.DefaultSelector() as selector:
        looks = exited is None
        if exited is not None:
            selector.register(exited, selectors.EVENT_READ)
        for pipe in outputs:
            selector.register(pipe, selectors.EVENT_READ)
        while (looks or selector.get_map()) and (left := deadline - time.monotonic()) > 0:
            if looks and _has_ended(process.pid):
                looks, deadline = False, min(deadline, time.monotonic() + _LEFTOVER_S)
                continue
            for key, _ in selector.select(min(left, _LOOK_S) if looks else left):
                if key.fd == exited:
                    selector.unregister(exited)
                    deadline = min(deadline, time.monotonic() + _LEFTOVER_S)
                elif not _take(key.fd, outputs[_pipe(key.fileobj)]):
                    selector.unregister(key.fileobj)
    stdout, stderr = (bytes(output).decode("utf-8", "replace") for output in outputs.values())
    return stdout, stderr


@contextlib.contextmanager
def _exit_of(process: subprocess.Popen[bytes]) -> Iterator[int | None]:
    """A descriptor that is readable once it has ended; None where the kernel (before 5.3) or the limit of files has none.

    It isn't reaped, so that its pid stays its own until `_end`.
    """
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _pipe(fileobj: object) -> IO[bytes]:
    return fileobj  # type: ignore[return-value]  # only the two pipes are registered


def _take(fd: int, output: bytearray) -> bool:
    data = os.read(fd, 65_536)
    output += data[: OUTPUT_LIMIT_BYTES - len(output)]
    return bool(data)


def _end(process: subprocess.Popen[bytes]) -> None:
    # Before the reap: until then the group's number can be nobody else's. What the command left behind goes too.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
