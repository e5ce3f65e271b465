"""How executions of one kind are carried out: what the executions need to know of it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from agent.executions.entry import Entry
from agent.executions.paths import ExecutionPaths
from agent.executions.record import Command, Record


class Carried(Protocol):
    """An execution that is under way."""

    async def wait(self) -> None:
        """Return when it is over, whatever became of it: its files say that."""
        ...


class Way(Protocol):
    """Scripts have one, containers and Kubernetes have one each."""

    def accept(self, request: Command, boot_id: str, now: datetime) -> Record:
        """The record of what is asked. Raises Refused where this host can't do it."""
        ...

    def files(self, request: Command, record: Record, paths: ExecutionPaths) -> Mapping[str, bytes]:
        """What is to be on disk before it begins, 0600. May block; raises Refused and OSError."""
        ...

    async def begin(self, record: Record, paths: ExecutionPaths) -> Carried | None:
        """Begin what is journalled; None where it is over already. Raises OSError."""
        ...

    async def resume(self, record: Record, paths: ExecutionPaths) -> Carried | None:
        """Find it again after the agent's own death, or go on with it; None where it is over."""
        ...

    async def end(self, entry: Entry) -> None:
        """Have it end: why is in its `ended-by`."""
        ...

    def judge(self, record: Record, paths: ExecutionPaths, boot_id: str, now: datetime) -> Record:
        """The record as it ends, from its files. May block."""
        ...
