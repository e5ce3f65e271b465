"""One execution in memory: its record and where it stands."""

import asyncio
from dataclasses import dataclass, field

from agent.errors import Refused
from agent.executions.paths import ExecutionPaths
from agent.executions.record import Record


@dataclass(slots=True, eq=False)
class Entry:
    """`accepted`: journalled and spawned, or refused; `exited`: the wrapper is gone; `ended`: the end is journalled."""

    record: Record
    paths: ExecutionPaths
    accepted: asyncio.Event = field(default_factory=asyncio.Event)
    exited: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    ending: "asyncio.Task[None] | None" = None
    refusal: Refused | None = None

    def raise_refusal(self) -> None:
        """Raise why it was not accepted, where it wasn't."""
        if self.refusal is not None:
            raise self.refusal
