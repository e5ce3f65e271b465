"""Which processes hold a listening port: remembered, so that only the first look has to search every process."""

from collections.abc import Callable, Collection

from agent.processes.listeners import listening_sockets
from agent.processes.procfs import Proc

_RETRY_EVERY = 10
"""A socket that no process we can see holds (the kernel's own) is searched for again every so many looks."""


class PortOwners:
    """Remembers each listening socket's holders and the descriptor they hold it by. Not safe for threads."""

    def __init__(self, list_sockets: Callable[[], dict[int, int]] = listening_sockets) -> None:
        """`list_sockets` answers inode -> port."""
        self._list_sockets = list_sockets
        self._holders: dict[int, dict[str, str]] = {}
        self._misses: dict[int, int] = {}
        self._seen: frozenset[str] = frozenset()

    def sockets(self) -> dict[int, int]:
        """What listens now: inode -> port."""
        return self._list_sockets()

    def owners(
        self, proc: Proc, pids: Collection[str], ports: Collection[int], sockets: dict[int, int]
    ) -> dict[int, set[str]]:
        """For each of `ports` the pids that hold a socket listening on it, forked workers included."""
        wanted = {inode: port for inode, port in sockets.items() if port in ports}
        self._forget(sockets)
        for inode in wanted:
            if inode in self._holders:
                self._holders[inode] = self._still_holding(proc, inode)
        self._search(proc, set(pids) - self._seen, set(self._holders))
        lost = {inode for inode in wanted if self._must_search(inode)}
        self._search(proc, pids, lost)
        self._seen = frozenset(pids)
        owners: dict[int, set[str]] = {port: set() for port in ports}
        for inode, port in wanted.items():
            owners[port] |= set(self._holders.get(inode, ()))
        return owners

    def _forget(self, sockets: dict[int, int]) -> None:
        self._holders = {inode: held for inode, held in self._holders.items() if inode in sockets}
        self._misses = {inode: count for inode, count in self._misses.items() if inode in sockets}

    def _still_holding(self, proc: Proc, inode: int) -> dict[str, str]:
        link = f"socket:[{inode}]"
        return {pid: fd for pid, fd in self._holders[inode].items() if proc.readlink(pid, f"fd/{fd}") == link}

    def _must_search(self, inode: int) -> bool:
        if self._holders.get(inode):
            self._misses.pop(inode, None)
            return False
        misses = self._misses.get(inode, 0)
        self._misses[inode] = misses + 1
        return misses % _RETRY_EVERY == 0

    def _search(self, proc: Proc, pids: Collection[str], inodes: set[int]) -> None:
        if not inodes:
            return
        links = {f"socket:[{inode}]": inode for inode in inodes}
        for inode in inodes:
            self._holders.setdefault(inode, {})
        for pid in pids:
            for fd, target in proc.open_files(pid).items():
                if target in links:
                    self._holders[links[target]][pid] = fd
