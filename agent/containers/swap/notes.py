"""What a swap writes while it goes, beside what every execution in a thread of the agent's does."""

from agent.containers.swap.progress import SwapProgress
from agent.executions.steps import Steps

LOG_BYTES = 64 * 1024


class Notes(Steps[SwapProgress]):
    """Its progress, its output, and whether it is to go on."""

    def show_log(self, name: str, log: bytes) -> None:
        """The end of a container's own output, 64 KiB at most."""
        if log:
            shown = log[-LOG_BYTES:]
            self.append(f"hoist: the last lines of {name}:\n".encode() + shown.rstrip(b"\n") + b"\n")
