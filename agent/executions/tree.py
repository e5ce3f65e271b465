"""The processes that an execution started: by session, group, ancestry and the mark in their environment."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """The part of /proc/PID/stat (proc(5)) that tells who belongs to whom."""

    pid: int
    name: str
    state: str
    ppid: int
    group: int
    session: int
    ticks: int


@dataclass(frozen=True, slots=True)
class Started:
    """`own` are to be ended with the execution; `detached` were set free by start_detached: (pid, name)."""

    own: frozenset[int]
    detached: tuple[tuple[int, str], ...]


def read_process(pid: int) -> Process | None:
    """The process, or None where there is none."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
    return Process(pid, name, rest[0], int(rest[1]), int(rest[2]), int(rest[3]), int(rest[19]))


def is_running(pid: int, ticks: int) -> bool:
    """Whether (pid, start ticks) is still the same process, and no zombie."""
    process = read_process(pid)
    return process is not None and process.ticks == ticks and process.state not in "ZX"


def boot_id() -> str:
    """Which boot of this host this is."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def find_started(execution_id: str, wrapper: int | None, watchdog: int | None) -> Started:
    """Everything that runs and that this execution started, apart from its wrapper and watchdog.

    `wrapper` None: it is gone, so only the mark in the environment tells.
    """
    processes = {process.pid: process for process in _all_processes() if process.state not in "ZX"}
    marks = {pid: _marks(pid) for pid in processes}
    mark = f"HOIST_EXECUTION_ID={execution_id}".encode()
    free = {pid for pid, found in marks.items() if any(one.startswith(b"HOIST_DETACHED=") for one in found)}
    own = {pid for pid, found in marks.items() if mark in found}
    root = processes.get(wrapper) if wrapper is not None else None
    if root is not None:
        own |= _relatives(processes, root, free)
    spared = {os.getpid(), wrapper, watchdog}
    own = {pid for pid in own - free if pid not in spared and processes[pid].ppid != watchdog}
    started_by = f"HOIST_STARTED_BY={execution_id}".encode()
    detached = sorted(pid for pid in free if started_by in marks[pid])
    return Started(frozenset(own), tuple((pid, processes[pid].name) for pid in detached))


def _relatives(processes: dict[int, Process], root: Process, free: set[int]) -> set[int]:
    """Who shares the wrapper's session or group, where these are its own, or descends from it."""
    found = {
        process.pid
        for process in processes.values()
        if (root.group == root.pid and process.group == root.group)
        or (root.session == root.pid and process.session == root.session)
    }
    children: dict[int, list[int]] = {}
    for process in processes.values():
        children.setdefault(process.ppid, []).append(process.pid)
    waiting = [root.pid, *found]
    seen = set(free)
    while waiting:
        pid = waiting.pop()
        if pid not in seen:
            seen.add(pid)
            found.add(pid)
            waiting.extend(children.get(pid, ()))
    return found


def _all_processes() -> Iterator[Process]:
    for entry in os.scandir(PROC):
        if entry.name.isdigit() and (process := read_process(int(entry.name))) is not None:
            yield process


def _marks(pid: int) -> frozenset[bytes]:
    try:
        content = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return frozenset()
    return frozenset(one for one in content.split(b"\x00") if one.startswith(b"HOIST_"))
