"""One pass over processes for the `name` and `cmdline` rules: the command line first, the name only where it is asked.

This is the loop that runs once per process of the host, so it is written for few calls, not for looks.
"""

import os
from collections.abc import Iterable

from agent.processes.matching import CompiledRules, full_name
from agent.processes.procfs import Proc
from agent.processes.stat import COMM_LIMIT

_READ_BYTES = 4096
_COMM_BYTES = 64


def scan(proc: Proc, pids: Iterable[str], rules: CompiledRules) -> dict[str, set[str]]:
    """Each matching pid and the names of the rules that it matches."""
    if not rules.names and not rules.cmdlines:
        return {}
    found: dict[str, set[str]] = {}
    os_open, os_read, os_close, flags, root = os.open, os.read, os.close, os.O_RDONLY | os.O_CLOEXEC, proc.fd
    names, needles = rules.names, [(rule.name, rule.needle) for rule in rules.cmdlines]
    for pid in pids:
        raw, comm = b"", b""
        try:
            if needles:
                fd = os_open(pid + "/cmdline", flags, 0, dir_fd=root)
                try:
                    raw = os_read(fd, _READ_BYTES)
                finally:
                    os_close(fd)
            if names:
                fd = os_open(pid + "/comm", flags, 0, dir_fd=root)
                try:
                    comm = os_read(fd, _COMM_BYTES)
                finally:
                    os_close(fd)
        except OSError:
            continue  # it died meanwhile, or is hidden from us
        if len(raw) == _READ_BYTES:
            raw = proc.cmdline(pid) or b""
        matched = {name for name, needle in needles if needle in raw.replace(b"\0", b" ")} if raw else set()
        if names:
            matched |= _match_names(proc, pid, comm, raw, rules)
        if matched:
            found[pid] = matched
    return found


def _match_names(proc: Proc, pid: str, raw_comm: bytes, raw: bytes, rules: CompiledRules) -> set[str]:
    comm = raw_comm.removesuffix(b"\n")
    if len(comm) >= COMM_LIMIT:
        name = full_name(comm, raw or proc.cmdline(pid) or b"", lambda: proc.exe(pid))
    else:
        name = comm.decode("utf-8", "replace")
    return {rule.name for rule in rules.names if rule.test(name)}
