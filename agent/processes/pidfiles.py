"""Pid files: the first line's number, and whether the file can be about the process that has that number now."""

import os
import stat
from dataclasses import dataclass

STALE_TOLERANCE_S = 2.0
"""A file is stale when it is older than its process by more than this: clocks are read a moment apart."""

_READ_BYTES = 64
_MAX_PID = 2**22


@dataclass(frozen=True, slots=True)
class PidFile:
    """What a pid file says, and when it was written (seconds since the epoch)."""

    pid: int
    written_at: float

    def is_stale(self, process_started_at: float) -> bool:
        """Whether the file is older than the process: then its number was given to another one."""
        return self.written_at < process_started_at - STALE_TOLERANCE_S


def parse_pid(raw: bytes) -> int | None:
    """The number on the first line, or None when it is no pid."""
    line = raw.split(b"\n", 1)[0].strip()
    if not line.isdigit():
        return None
    pid = int(line)
    return pid if 0 < pid <= _MAX_PID else None


def read_pid_file(path: str) -> PidFile | None:
    """Read a pid file; None when there is none, or it is no regular file, or holds no pid."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return None
        pid = parse_pid(os.read(fd, _READ_BYTES))
    except OSError:
        return None
    finally:
        os.close(fd)
    return PidFile(pid, status.st_mtime) if pid else None
