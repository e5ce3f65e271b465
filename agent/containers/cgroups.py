"""What a container uses, read from its control group, of either version; and what it sent and received, from /proc.

https://docs.kernel.org/admin-guide/cgroup-v1/memory.html, https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

NS_PER_US = 1000
READ_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """`cpu_ns` since the container began, over all cores; memory in bytes, without file pages that nobody needs.

    `at_ns` is when, by a clock of which only differences mean something. `memory_limit` None: unknown.
    """

    cpu_ns: int
    at_ns: int
    memory_usage: int
    memory_limit: int | None


@dataclass(frozen=True, slots=True)
class Group:
    """Where a container's figures are: one directory (version 2), or one for each controller (version 1).

    `host_bytes` is what it may use without a limit.
    """

    cpu: str
    memory: str
    unified: bool
    identity: tuple[int, int]
    host_bytes: int

    def current_identity(self) -> tuple[int, int] | None:
        """(inode, change time): another one when the container was restarted; None when it is gone."""
        return _identity(self.memory)

    def read(self, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> Usage | None:
        """What is used now; None where the group is gone."""
        try:
            return self._read_unified(monotonic_ns) if self.unified else self._read_v1(monotonic_ns)
        except (OSError, ValueError):
            return None

    def _read_unified(self, monotonic_ns: Callable[[], int]) -> Usage:
        limit = _read(self.memory + "/memory.max").strip()
        return Usage(
            cpu_ns=_field(_read(self.cpu + "/cpu.stat"), b"usage_usec ") * NS_PER_US,
            at_ns=monotonic_ns(),
            memory_usage=without_inactive(
                int(_read(self.memory + "/memory.current")),
                _field(_read(self.memory + "/memory.stat"), b"inactive_file "),
            ),
            memory_limit=self.host_bytes if limit == b"max" else min(int(limit), self.host_bytes),
        )

    def _read_v1(self, monotonic_ns: Callable[[], int]) -> Usage:
        return Usage(
            cpu_ns=int(_read(self.cpu + "/cpuacct.usage")),
            at_ns=monotonic_ns(),
            memory_usage=without_inactive(
                int(_read(self.memory + "/memory.usage_in_bytes")),
                _field(_read(self.memory + "/memory.stat"), b"total_inactive_file "),
            ),
            memory_limit=min(int(_read(self.memory + "/memory.limit_in_bytes")), self.host_bytes),
        )


def without_inactive(usage: int, inactive: int) -> int:
    """As docker's own command counts it (docker/cli, calculateMemUsageUnixNoCache)."""
    return usage - inactive if inactive < usage else usage


def _read(path: str) -> bytes:
    """A small file of the kernel's, whole; without the layers of open(), which cost more than the reading."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    content = b""
    try:
        while piece := os.read(descriptor, READ_BYTES):  # net/dev comes a page at a time
            content += piece
        return content
    finally:
        os.close(descriptor)


def _field(content: bytes, name: bytes) -> int:
    """The number after a line's name; raises ValueError where there is no such line."""
    content = b"\n" + content
    begin = content.index(b"\n" + name) + 1 + len(name)
    return int(content[begin : content.index(b"\n", begin)].split()[0])


def _identity(path: str) -> tuple[int, int] | None:
    try:
        stat = os.stat(path)  # noqa: PTH116 - asked of every container in every round; a Path is slower
    except OSError:
        return None
    return stat.st_ino, stat.st_ctime_ns


class Cgroups:
    """Where this host's hierarchies are mounted, found once."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._unified: Path | None = None
        self._controllers: dict[str, Path] = {}
        self._host_bytes = 0
        with contextlib.suppress(OSError, ValueError):
            self._find_mounts()
            self._host_bytes = host_memory(proc)

    def group_of(self, pid: int, container_id: str) -> Group | None:
        """The control group of the container whose process this is; None where its figures can't be read from here.

        The engine's pid may be another process here (in a pid namespace, for instance), and a container may have groups
        of its own below (a systemd in it): the group is the one that is called after the container.
        """
        try:
            lines = (self._proc / str(pid) / "cgroup").read_text().splitlines()
        except OSError:
            return None
        paths = dict(_paths_of(lines, container_id))
        for cpu, memory, unified in self._candidates(paths):
            identity = _identity(str(memory))
            if identity is not None and (memory / _probe(unified)).exists():
                return Group(str(cpu), str(memory), unified, identity, self._host_bytes)
        return None

    def _candidates(self, paths: dict[str, str]) -> Iterator[tuple[Path, Path, bool]]:
        if {"memory", "cpuacct"} <= paths.keys() and {"memory", "cpuacct"} <= self._controllers.keys():
            cpu = self._controllers["cpuacct"] / paths["cpuacct"].lstrip("/")
            yield cpu, self._controllers["memory"] / paths["memory"].lstrip("/"), False
        if self._unified is not None and "" in paths:
            directory = self._unified / paths[""].lstrip("/")
            yield directory, directory, True

    def _find_mounts(self) -> None:
        """proc(5), mountinfo: the mount point is the fifth field; type and super options come after the dash."""
        for line in (self._proc / "self" / "mountinfo").read_text().splitlines():
            before, _, after = line.partition(" - ")
            point, kind = before.split()[4], after.split()[0]
            if kind == "cgroup2":
                self._unified = Path(point)
            elif kind == "cgroup":
                for controller in after.split()[-1].split(","):
                    self._controllers.setdefault(controller, Path(point))


def _paths_of(lines: list[str], container_id: str) -> Iterator[tuple[str, str]]:
    """(controller, path down to the container's own group); the controller of version 2 is the empty one."""
    for line in lines:
        _, controllers, path = line.split(":", 2)
        before, found, after = path.partition(container_id)
        if found:
            own = before + found + after.partition("/")[0]
            for controller in controllers.split(","):
                yield controller, own


def _probe(unified: bool) -> str:
    return "memory.current" if unified else "memory.usage_in_bytes"


def network_bytes(pid: int, proc: str = "/proc") -> tuple[int, int] | None:
    """Bytes that the process's network namespace received and sent, loopback left out; None when it is gone."""
    try:
        lines = _read(f"{proc}/{pid}/net/dev").splitlines()[2:]
    except OSError:
        return None
    received = sent = 0
    for line in lines:
        name, _, numbers = line.partition(b":")
        if name.strip() != b"lo":
            fields = numbers.split()
            received += int(fields[0])
            sent += int(fields[8])
    return received, sent


def host_memory(proc: Path = Path("/proc")) -> int:
    """The host's memory in bytes: what a container without a limit may use."""
    return _field(_read(f"{proc}/meminfo"), b"MemTotal:") * 1024
