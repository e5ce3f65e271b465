"""What an execution in the agent's own thread writes while it goes, and how it hears that it is to end."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar

from pydantic import BaseModel, ConfigDict

from agent.disk import write_durably

T = TypeVar("T")
A = ParamSpec("A")
RETRY_S = 1.0


class StepFailed(Exception):
    """It can't go on; the message says why, for the operator."""


class Ended(Exception):
    """It was cancelled, or its time is over: what can be put back is put back."""


class Abandoned(Exception):
    """The agent stops. Nothing is put back: its next start goes on from here."""


class Progress(BaseModel):
    """How far it is. `committed`: from here on it is never undone; `phase` "revert": it is being undone."""

    model_config = ConfigDict(frozen=True)

    phase: str = "begin"
    committed: bool = False
    why: str | None = None


G = TypeVar("G", bound=Progress)


@dataclass(frozen=True, slots=True)
class Signals:
    """`ending`: cancelled, or out of time, and `reason` says which; `abandoned`: the agent stops."""

    ending: threading.Event
    abandoned: threading.Event
    reason: Callable[[], str | None]


class Steps(Generic[G]):
    """The progress of one execution as it is on disk (`now`), its output, and whether it is to go on."""

    def __init__(self, beginning: G, progress_file: Path, output_file: Path, signals: Signals) -> None:
        """`beginning`: where there is no progress yet. Raises OSError, and ValueError where it can't be understood."""
        self._file = progress_file
        self._output = output_file
        self._ending = signals.ending
        self._abandoned = signals.abandoned
        self._reason = signals.reason
        self._told: set[str] = set()
        try:
            self.now = type(beginning).model_validate_json(progress_file.read_bytes())
        except FileNotFoundError:
            self.now = beginning

    @property
    def may_end(self) -> bool:
        """Whether an ending is still obeyed: not once it is committed, nor while it is being undone."""
        return not self.now.committed and self.now.phase != "revert"

    def write(self, **changes: Any) -> None:
        """On disk when this returns; nothing where nothing changes. Raises Abandoned, Ended, OSError.

        An ending keeps nothing from beginning to put back: that is what it asks for. Nor does a full disk, and what is
        committed is tidied up: an agent that dies meanwhile has an older progress to go on from, and does it once more.
        """
        changed = self.now.model_copy(update=changes)
        reverting = changed.phase == "revert"
        if reverting:
            self._check_abandoned()
        else:
            self.check()
        if changed == self.now:
            return
        try:
            write_durably(self._file, changed.model_dump_json().encode())
        except OSError:
            if not (reverting or self.now.committed):
                raise
        self.now = changed

    def check(self) -> None:
        """Raise Abandoned or Ended where it is to end now."""
        self._check_abandoned()
        if self._ending.is_set() and self.may_end:
            raise Ended(self._reason() or "cancelled")

    def _check_abandoned(self) -> None:
        if self._abandoned.is_set():
            raise Abandoned

    def sleep(self, seconds: float) -> None:
        """Wait, or until it is to end. Raises as `check`."""
        self.check()
        (self._ending if self.may_end else self._abandoned).wait(seconds)
        self.check()

    def patiently(
        self,
        unavailable: type[Exception],
        patience_s: float,
        step: Callable[A, T],
        *args: A.args,
        **more: A.kwargs,
    ) -> T:
        """The step, tried again while what it asks is `unavailable`: until it is ended, or for `patience_s` once it must not be."""
        deadline = time.monotonic() + patience_s
        while True:
            self.check()
            try:
                return step(*args, **more)
            except unavailable as error:
                if not self.may_end and time.monotonic() > deadline:
                    raise
                self.tell_once(f"{error}: trying again")
                self.sleep(RETRY_S)

    def tell(self, line: str) -> None:
        """A line of the execution's output. A full disk keeps nothing from going on."""
        self.append(f"hoist: {line}\n".encode())

    def tell_once(self, line: str) -> None:
        """The same, unless it was told already."""
        if line not in self._told:
            self._told.add(line)
            self.tell(line)

    def append(self, content: bytes) -> None:
        """To the execution's output, as it is; a full disk takes nothing."""
        try:
            descriptor = os.open(self._output, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
        except OSError:
            return
