"""What a swap writes while it goes: its progress, its output; and how it hears that it is to end."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.containers.swap.errors import SwapAbandoned, SwapEnded
from agent.containers.swap.progress import read_progress, write_progress

LOG_BYTES = 64 * 1024


class Notes:
    """`ending`: cancelled, or out of time; `abandoned`: the agent stops. `reason` says which ending it is."""

    def __init__(
        self,
        progress_file: Path,
        output_file: Path,
        ending: threading.Event,
        abandoned: threading.Event,
        reason: Callable[[], str | None],
    ) -> None:
        """Raises OSError, and ValueError where the progress can't be understood."""
        self._file = progress_file
        self._output = output_file
        self._ending = ending
        self._abandoned = abandoned
        self._reason = reason
        self._told: set[str] = set()
        self.now = read_progress(progress_file)

    @property
    def may_end(self) -> bool:
        """Whether an ending is still obeyed: not once the new container serves, nor while the old one is put back."""
        return not self.now.committed and self.now.phase != "revert"

    def write(self, **changes: Any) -> None:
        """On disk when this returns; nothing where nothing changes. Raises SwapAbandoned, SwapEnded, OSError.

        An ending keeps nothing from beginning to put back: that is what it asks for. Nor does a full disk: an agent that
        dies meanwhile then has an older progress to go on from, and fails at the same place once more.
        """
        changed = self.now.model_copy(update=changes)
        reverting = changed.phase == "revert"
        if reverting:
            self._check_abandoned()
        else:
            self.check()
        if changed != self.now:
            try:
                write_progress(self._file, changed)
            except OSError:
                if not reverting:
                    raise
            self.now = changed

    def check(self) -> None:
        """Raise SwapAbandoned or SwapEnded where it is to end now."""
        self._check_abandoned()
        if self._ending.is_set() and self.may_end:
            raise SwapEnded(self._reason() or "cancelled")

    def _check_abandoned(self) -> None:
        if self._abandoned.is_set():
            raise SwapAbandoned

    def sleep(self, seconds: float) -> None:
        """Wait, or until it is to end. Raises as `check`."""
        self.check()
        if self.may_end:
            self._ending.wait(seconds)
        else:
            self._abandoned.wait(seconds)
        self.check()

    def tell(self, line: str) -> None:
        """A line of the execution's output. A full disk keeps nothing from going on."""
        self._append(f"hoist: {line}\n".encode())

    def tell_once(self, line: str) -> None:
        """The same, unless it was told already."""
        if line not in self._told:
            self._told.add(line)
            self.tell(line)

    def show_log(self, name: str, log: bytes) -> None:
        """The end of a container's own output, 64 KiB at most."""
        if log:
            shown = log[-LOG_BYTES:]
            self._append(f"hoist: the last lines of {name}:\n".encode() + shown.rstrip(b"\n") + b"\n")

    def _append(self, content: bytes) -> None:
        try:
            descriptor = os.open(self._output, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
        except OSError:
            return
