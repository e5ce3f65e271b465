"""One pass over processes for the `name` and `cmdline` rules: the command line first, the name only where it is asked.

This is the loop that runs once per process of the host, so it is written for few calls, not for looks.
"""

import os
from collections.abc import Iterable

from agent.processes.matching import CompiledRules, full_name
from agent.processes.procfs import Proc
from agent.processes.stat import COMM_LIMIT

_READ_BYTES = 478
"""Most command lines fit; with its header such a buffer is one that Python allocates fast (512 bytes)."""

_COMM_BYTES = 64
_LONGEST_CHAIN = 8


def scan(  # noqa: C901, PLR0912 - in one piece, because a call per file of every process is what costs
    proc: Proc, pids: Iterable[str], rules: CompiledRules
) -> dict[str, set[str]]:
    """Each matching pid and the names of the rules that it matches."""
    if not rules.names and not rules.cmdlines:
        return {}
    found: dict[str, set[str]] = {}
    os_open, os_read, os_close, flags, root = os.open, os.read, os.close, os.O_RDONLY | os.O_CLOEXEC, proc.fd
    exact, by_test = _split(rules)
    needles = [rule.needle for rule in rules.cmdlines]
    raw = comm = b""
    for pid in pids:
        try:
            if needles:
                fd = os_open(pid + "/cmdline", flags, dir_fd=root)
                try:
                    raw = os_read(fd, _READ_BYTES)
                finally:
                    os_close(fd)
            if rules.names:
                fd = os_open(pid + "/comm", flags, dir_fd=root)
                try:
                    comm = os_read(fd, _COMM_BYTES)
                finally:
                    os_close(fd)
        except OSError:
            continue  # it died meanwhile, or is hidden from us
        if len(raw) == _READ_BYTES:
            raw = proc.cmdline(pid) or b""
        if raw:
            line = raw.replace(b"\0", b" ")
            for needle in needles:
                if needle in line:
                    found.setdefault(pid, set()).update(_cmdline_rules(line, rules))
                    break
        if comm in exact:
            found.setdefault(pid, set()).update(exact[comm])
        if by_test or len(comm) > COMM_LIMIT:
            names = _test_names(proc, pid, comm, raw, rules)
            if names:
                found.setdefault(pid, set()).update(names)
    return found


def without_forks(
    proc: Proc, found: dict[str, set[str]], rules: CompiledRules, skipped: frozenset[int]
) -> dict[str, set[str]]:
    """Leave out copies of the processes that never match: their subshells, and children that did not exec yet.

    A child that does exec meanwhile is looked at again, as what it is then.
    """
    kept: dict[str, set[str]] = {}
    for pid, names in found.items():
        stat = proc.stat(pid)
        if stat is None or stat.ppid not in skipped:
            if not _copies_one_of(proc, pid, skipped):
                kept[pid] = names
        elif proc.cmdline(pid) != proc.cmdline(str(stat.ppid)):
            kept.update(scan(proc, (pid,), rules))
    return kept


def _copies_one_of(proc: Proc, pid: str, skipped: frozenset[int]) -> bool:
    """Whether a chain of ancestors with the same command line leads to one of `skipped`."""
    cmdline = proc.cmdline(pid)
    for _ in range(_LONGEST_CHAIN):
        stat = proc.stat(pid)
        if not cmdline or stat is None or proc.cmdline(str(stat.ppid)) != cmdline:
            return False
        if stat.ppid in skipped:
            return True
        pid = str(stat.ppid)
    return False


def _split(rules: CompiledRules) -> tuple[dict[bytes, set[str]], bool]:
    """The rules that one comparison with the comm file answers, and whether there are others."""
    exact: dict[bytes, set[str]] = {}
    by_test = False
    for rule in rules.names:
        if rule.literal is None:
            by_test = True
        elif len(rule.literal) < COMM_LIMIT:
            exact.setdefault(rule.literal + b"\n", set()).add(rule.name)
    return exact, by_test


def _cmdline_rules(line: bytes, rules: CompiledRules) -> set[str]:
    return {rule.name for rule in rules.cmdlines if rule.needle in line}


def _test_names(proc: Proc, pid: str, raw_comm: bytes, raw: bytes, rules: CompiledRules) -> set[str]:
    comm = raw_comm.removesuffix(b"\n")
    if len(comm) >= COMM_LIMIT:
        name = full_name(comm, raw or proc.cmdline(pid) or b"", lambda: proc.exe(pid))
    else:
        name = comm.decode("utf-8", "replace")
    return {rule.name for rule in rules.names if rule.test(name)}
