"""What a container uses, read from its control group, of either version; and what it sent and received, from /proc.

https://docs.kernel.org/admin-guide/cgroup-v1/memory.html, https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NS_PER_US = 1000


@dataclass(frozen=True, slots=True)
class Usage:
    """`cpu_ns` since the container began, over all cores; memory in bytes, without file pages that nobody needs."""

    cpu_ns: int
    memory_usage: int
    memory_limit: int | None


@dataclass(frozen=True, slots=True)
class Group:
    """Where a container's figures are: one directory (version 2), or one for each controller (version 1)."""

    cpu: Path
    memory: Path
    unified: bool
    identity: tuple[int, int]

    def current_identity(self) -> tuple[int, int] | None:
        """(inode, change time): another one when the container was restarted; None when it is gone."""
        return _identity(self.memory)

    def read(self) -> Usage | None:
        """What is used now; None where the group is gone."""
        try:
            return self._read_unified() if self.unified else self._read_v1()
        except (OSError, ValueError, StopIteration):
            return None

    def _read_unified(self) -> Usage:
        usage = int((self.memory / "memory.current").read_bytes())
        limit = (self.memory / "memory.max").read_bytes().strip()
        return Usage(
            cpu_ns=_field(self.cpu / "cpu.stat", b"usage_usec") * NS_PER_US,
            memory_usage=_without(usage, _field(self.memory / "memory.stat", b"inactive_file")),
            memory_limit=None if limit == b"max" else int(limit),
        )

    def _read_v1(self) -> Usage:
        usage = int((self.memory / "memory.usage_in_bytes").read_bytes())
        return Usage(
            cpu_ns=int((self.cpu / "cpuacct.usage").read_bytes()),
            memory_usage=_without(usage, _field(self.memory / "memory.stat", b"total_inactive_file")),
            memory_limit=int((self.memory / "memory.limit_in_bytes").read_bytes()),
        )


def _without(usage: int, inactive: int) -> int:
    """As docker's own command counts it (docker/cli, calculateMemUsageUnixNoCache)."""
    return usage - inactive if inactive < usage else usage


def _field(path: Path, name: bytes) -> int:
    return next(int(line.split()[1]) for line in path.read_bytes().splitlines() if line.split()[0] == name)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_ctime_ns


class Cgroups:
    """Where this host's hierarchies are mounted, found once."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._unified: Path | None = None
        self._controllers: dict[str, Path] = {}
        with contextlib.suppress(OSError):
            self._find_mounts()

    def group_of(self, pid: int) -> Group | None:
        """The control group of the process; None where its figures can't be read from here."""
        try:
            lines = (self._proc / str(pid) / "cgroup").read_text().splitlines()
        except OSError:
            return None
        paths = dict(_controllers(lines))
        for cpu, memory, unified in self._candidates(paths):
            identity = _identity(memory)
            if identity is not None and (memory / _probe(unified)).exists():
                return Group(cpu, memory, unified, identity)
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


def _controllers(lines: list[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def _probe(unified: bool) -> str:
    return "memory.current" if unified else "memory.usage_in_bytes"


def network_bytes(pid: int, proc: Path = Path("/proc")) -> tuple[int, int] | None:
    """Bytes that the process's network namespace received and sent, loopback left out; None when it is gone."""
    try:
        lines = (proc / str(pid) / "net" / "dev").read_text().splitlines()[2:]
    except OSError:
        return None
    received = sent = 0
    for line in lines:
        name, _, numbers = line.partition(":")
        if name.strip() != "lo":
            fields = numbers.split()
            received += int(fields[0])
            sent += int(fields[8])
    return received, sent


def host_memory(proc: Path = Path("/proc")) -> int:
    """The host's memory in bytes: what a container without a limit may use."""
    return _field(proc / "meminfo", b"MemTotal:") * 1024
