"""The files of one execution: what the agent, the wrapper and the watchdog tell each other."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

STATUS_PLACEHOLDER = b"-" * 14 + b".\n"
"""Overwritten in place by the wrapper, so that an exit status needs no room on a full disk."""

GIVEN_UP = "given up\n"
"""In `started`, where the script was never started and never will be."""

_STARTED = re.compile(r"(\d{1,10}) (\d{1,19}) (\S+) \.\n", re.ASCII)
_NUMBER = re.compile(r"\d{1,10}", re.ASCII)
_STATUS = re.compile(r"^(\d{1,3}) *\.$", re.ASCII)


@dataclass(frozen=True, slots=True)
class Started:
    """The wrapper's identity: (boot id, pid, start ticks)."""

    pid: int
    ticks: int
    boot_id: str


@dataclass(frozen=True, slots=True)
class ExecutionPaths:
    """`directory` is 0700, every file in it 0600."""

    directory: Path

    @property
    def record(self) -> Path:
        """The journal's entry; a directory without one was never spawned."""
        return self.directory / "record.json"

    @property
    def set_aside(self) -> Path:
        """The journal's entry where it couldn't be read: the id stays taken, for nobody knows whether it ran."""
        return self.directory / "record.json.unreadable"

    @property
    def script(self) -> Path:
        """Gone once the execution has ended."""
        return self.directory / "script"

    @property
    def env(self) -> Path:
        """Gone once the execution has ended."""
        return self.directory / "env"

    @property
    def request(self) -> Path:
        """What a container or Kubernetes deployment was asked for, a registry's credentials included; gone once it has ended."""
        return self.directory / "request.json"

    @property
    def swap(self) -> Path:
        """How far a container deployment is."""
        return self.directory / "swap.json"

    @property
    def deployed(self) -> Path:
        """What a container deployment came to."""
        return self.directory / "container.json"

    @property
    def rollout(self) -> Path:
        """How far a Kubernetes deployment is."""
        return self.directory / "rollout.json"

    @property
    def rolled_out(self) -> Path:
        """What a Kubernetes deployment came to, also where it failed."""
        return self.directory / "kubernetes.json"

    @property
    def failure(self) -> Path:
        """Why a container or Kubernetes deployment failed, for the operator."""
        return self.directory / "error"

    @property
    def plan(self) -> Path:
        """The wrapper's variables."""
        return self.directory / "plan"

    @property
    def output(self) -> Path:
        """What the script wrote, its middle punched out beyond 16 MiB."""
        return self.directory / "output"

    @property
    def started(self) -> Path:
        """Made exclusively: by the wrapper, which then runs the script, or by an agent that gives it up."""
        return self.directory / "started"

    @property
    def status(self) -> Path:
        """The script's exit status; its modification time is when the script ended."""
        return self.directory / "status"

    @property
    def ended_by(self) -> Path:
        """Why it was ended, where it did not end by itself."""
        return self.directory / "ended-by"

    def read_started(self) -> Started | None:
        """The wrapper's identity, or None while it isn't (completely) written, or was given up."""
        found = _STARTED.fullmatch(_read(self.started))
        return Started(int(found.group(1)), int(found.group(2)), found.group(3)) if found else None

    @property
    def given_up(self) -> bool:
        """Whether an agent took the wrapper's place before it began: the script certainly did not run."""
        return _read(self.started) == GIVEN_UP

    def read_status(self) -> int | None:
        """The exit status, as a shell counts it (128 + signal), or None while there is none."""
        found = _STATUS.match(_read(self.status).strip())
        return int(found.group(1)) if found else None

    def read_ended_by(self) -> str | None:
        """timed_out, cancelled or agent_stopped; None where the script was left to end by itself."""
        return _read(self.ended_by).strip() or None

    def read_number(self, name: str) -> int | None:
        """A pid that the wrapper wrote: `pid` (the script's) or `watchdog`."""
        text = _read(self.directory / name).strip()
        return int(text) if _NUMBER.fullmatch(text) else None

    def time_of(self, path: Path) -> datetime | None:
        """When `path` was last written."""
        try:
            return datetime.fromtimestamp(path.stat().st_mtime, UTC)
        except (OSError, ValueError, OverflowError):
            return None


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
