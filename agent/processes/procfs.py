"""Reading /proc by directory descriptor: the kernel's cost per file is what counts, so read little and format less.

A process that dies meanwhile, or that we may not look into, is None here and never an error.
"""

import os
import stat
from types import TracebackType
from typing import Self

from agent.processes.stat import Stat, parse_stat

_FIRST_READ = 4096
_MAX_CMDLINE_BYTES = 8 * 1024 * 1024
_MAX_FDS = 65_536


class Proc:
    """An open /proc. Use as a context manager."""

    def __init__(self, root: str = "/proc") -> None:
        """Open `root`; raises OSError when there is none."""
        self._root = root
        self.fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.fd)

    def pids(self) -> list[str]:
        """Every process's id, as /proc spells it."""
        return [name for name in os.listdir(self._root) if name[0] in "123456789"]  # noqa: PTH208 - a Path per process is slow

    def read(self, pid: str, name: str) -> bytes | None:
        """The whole of a small file (under 4 KiB), or None when the process is gone."""
        try:
            fd = os.open(f"{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.fd)
        except OSError:
            return None
        try:
            return os.read(fd, _FIRST_READ)
        except OSError:
            return None
        finally:
            os.close(fd)

    def cmdline(self, pid: str) -> bytes | None:
        """The raw arguments, each ended by a NUL, in full up to 8 MiB; empty for zombies and kernel threads."""
        try:
            fd = os.open(f"{pid}/cmdline", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.fd)
        except OSError:
            return None
        try:
            data = os.read(fd, _FIRST_READ)
            return data if len(data) < _FIRST_READ else self._rest(fd, data)
        except OSError:
            return None
        finally:
            os.close(fd)

    def stat(self, pid: str) -> Stat | None:
        """The process's stat, or None when it is gone."""
        raw = self.read(pid, "stat")
        if not raw:
            return None
        try:
            return parse_stat(raw)
        except ValueError:
            return None

    def exe(self, pid: str) -> str | None:
        """The path of the executable, without the mark that it was deleted meanwhile."""
        path = self.readlink(pid, "exe")
        return path.removesuffix(" (deleted)") if path else None

    def readlink(self, pid: str, name: str) -> str | None:
        """Where a link of the process points to, or None."""
        try:
            return os.readlink(f"{pid}/{name}", dir_fd=self.fd)
        except OSError:
            return None

    def open_files(self, pid: str) -> dict[str, str]:
        """Every descriptor and what it refers to ("socket:[123]", "pipe:[7]", a path), at most 65,536 of them."""
        try:
            names = os.listdir(f"{self._root}/{pid}/fd")[:_MAX_FDS]  # noqa: PTH208 - a Path per descriptor is slow
        except OSError:
            return {}
        links = ((name, self.readlink(pid, f"fd/{name}")) for name in names)
        return {name: target for name, target in links if target}

    def can_read_from(self, pid: str, fd: str) -> bool:
        """Whether a descriptor was opened for reading: the link's own permission bits say so (proc_pid_fd(5))."""
        try:
            return bool(
                os.stat(f"{pid}/fd/{fd}", dir_fd=self.fd, follow_symlinks=False).st_mode & stat.S_IRUSR
            )
        except OSError:
            return False

    @staticmethod
    def _rest(fd: int, data: bytes) -> bytes:
        parts, size = [data], len(data)
        while size < _MAX_CMDLINE_BYTES:
            part = os.read(fd, 65_536)
            if not part:
                break
            parts.append(part)
            size += len(part)
        return b"".join(parts)
