"""/proc/<pid>/stat, parsed: proc(5) and Documentation/filesystems/proc.rst say what each field is."""

from dataclasses import dataclass

from agent.wire.processes import ProcessStatus

COMM_LIMIT = 15
"""The kernel keeps this many bytes of a process's name (TASK_COMM_LEN less its NUL)."""

_STATUS: dict[str, ProcessStatus] = {
    "R": "running",
    "S": "sleeping",
    "D": "disk_sleep",
    "T": "stopped",
    "t": "stopped",
    "Z": "zombie",
    "I": "idle",
}
_GONE = ("X", "x")


@dataclass(frozen=True, slots=True)
class Stat:
    """What a match is described by. Times are in clock ticks, memory in pages."""

    pid: int
    comm: bytes
    state: str
    ppid: int
    session: int
    tty: int
    cpu_ticks: int
    start_ticks: int
    rss_pages: int

    @property
    def status(self) -> ProcessStatus:
        """The state in the wire's words; a waking or parked task counts as sleeping."""
        return _STATUS.get(self.state, "sleeping")

    @property
    def gone(self) -> bool:
        """Whether the kernel is taking the process away this very moment."""
        return self.state in _GONE


def parse_stat(raw: bytes) -> Stat:
    """Parse a whole stat file; the name may hold spaces, parentheses and newlines, so the last ')' ends it.

    Raises ValueError for anything else.
    """
    opening, closing = raw.find(b"("), raw.rfind(b")")
    if opening < 0 or closing < opening:
        raise ValueError("cannot parse stat: no name in parentheses")
    fields = raw[closing + 1 :].split()
    if len(fields) < 22:
        raise ValueError("cannot parse stat: too few fields")
    return Stat(
        pid=int(raw[:opening]),
        comm=raw[opening + 1 : closing],
        state=fields[0].decode("ascii", "replace"),
        ppid=int(fields[1]),
        session=int(fields[3]),
        tty=int(fields[4]),
        cpu_ticks=int(fields[11]) + int(fields[12]),
        start_ticks=int(fields[19]),
        rss_pages=max(0, int(fields[21])),
    )
