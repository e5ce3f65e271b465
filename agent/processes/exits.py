"""Who of the watched processes ends is told at once: pidfd_open(2); where the kernel has none, they are asked every second."""

import asyncio
import errno
import os
import resource
from collections.abc import Callable, Collection

from agent.processes.procfs import Proc

Identity = tuple[int, int]
"""A pid and its start tick: a number that is given out again is another process."""

MOST_DESCRIPTORS = 1000
_MOST_ASKED = 100
_ASK_EVERY_S = 1.0
_NO_PIDFD = (errno.ENOSYS, errno.EPERM, errno.EINVAL)
"""The kernel has no such call, or a filter forbids it."""


def most_descriptors() -> int:
    """A thousand, or half of what this process may have open: the rest is for its work."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(MOST_DESCRIPTORS, allowed // 2) if allowed != resource.RLIM_INFINITY else MOST_DESCRIPTORS


class Room:
    """How many more processes may be followed by descriptor: shared by everybody who follows some."""

    def __init__(self, left: int | None = None) -> None:
        self.left = most_descriptors() if left is None else left


class Exits:
    """Follows processes for one watch. Belongs to one event loop; `on_exit` is called in it, once for each end.

    Those for which there is no room are not followed: the watch sees at its interval that they are gone.
    """

    def __init__(
        self, on_exit: Callable[[], None], room: Room, open_pidfd: Callable[[int], int] | None = None
    ) -> None:
        self._on_exit = on_exit
        self._room = room
        self._open: Callable[[int], int] = (
            getattr(os, "pidfd_open", _no_pidfd) if open_pidfd is None else open_pidfd
        )
        self._descriptors: dict[Identity, int] = {}
        self._asked: set[Identity] = set()
        self._asking: asyncio.TimerHandle | None = None

    def follow(self, wanted: Collection[Identity]) -> None:
        """Follow exactly these from now on; one that is gone already counts as an end."""
        for identity in self._descriptors.keys() - set(wanted):
            self._close(identity)
        self._asked &= set(wanted)
        with Proc() as proc:
            new = [one for one in wanted if one not in self._descriptors and one not in self._asked]
            ended = [one for one in new if not self._begin(proc, one)]
        if self._asked and self._asking is None:
            self._asking = asyncio.get_running_loop().call_later(_ASK_EVERY_S, self._ask)
        if ended:
            self._on_exit()

    def close(self) -> None:
        """Follow nobody."""
        for identity in list(self._descriptors):
            self._close(identity)
        self._asked.clear()
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    def _begin(self, proc: Proc, identity: Identity) -> bool:
        """False where the process is gone."""
        if self._room.left <= 0:
            return True
        try:
            descriptor = self._open(identity[0])
        except ProcessLookupError:
            return False
        except OSError as error:
            if error.errno in _NO_PIDFD and len(self._asked) < _MOST_ASKED:
                self._asked.add(identity)
            return True
        if not _is_there(proc, identity):  # looked at after it was opened: else it could be another one's
            os.close(descriptor)
            return False
        self._room.left -= 1
        self._descriptors[identity] = descriptor
        asyncio.get_running_loop().add_reader(descriptor, self._ended, identity)
        return True

    def _ended(self, identity: Identity) -> None:
        self._close(identity)
        self._on_exit()

    def _close(self, identity: Identity) -> None:
        descriptor = self._descriptors.pop(identity)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
        self._room.left += 1

    def _ask(self) -> None:
        self._asking = None
        with Proc() as proc:
            ended = {identity for identity in self._asked if not _is_there(proc, identity)}
        self._asked -= ended
        if self._asked:
            self._asking = asyncio.get_running_loop().call_later(_ASK_EVERY_S, self._ask)
        if ended:
            self._on_exit()


def _is_there(proc: Proc, identity: Identity) -> bool:
    pid, start_ticks = identity
    stat = proc.stat(str(pid))
    return stat is not None and stat.start_ticks == start_ticks and stat.state != "Z" and not stat.gone


def _no_pidfd(_pid: int) -> int:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
